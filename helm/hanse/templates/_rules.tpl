{{- /* Generated from operator/hanse/api/rbac.py by scripts/generate: do not edit. */ -}}
{{- define "hanse.rules.operator" -}}
# config files of pods; the list of CA keys
- apiGroups:
  - ''
  resources:
  - configmaps
  verbs:
  - get
  - list
  - create
  - patch
  - delete
# CA keys (operator's namespace only), certificates
- apiGroups:
  - ''
  resources:
  - secrets
  verbs:
  - get
  - create
  - patch
  - delete
# events
- apiGroups:
  - ''
  resources:
  - events
  verbs:
  - create
  - patch
# events
- apiGroups:
  - events.k8s.io
  resources:
  - events
  verbs:
  - create
  - patch
{{- end -}}
{{- define "hanse.rules.coordinator" -}}
# watch what it serves
- apiGroups:
  - hanse.dev
  resources:
  - federatedjobs
  - participants
  - participations
  - privacybudgets
  verbs:
  - get
  - list
  - watch
# delete at ttlSecondsAfterFinished
- apiGroups:
  - hanse.dev
  resources:
  - federatedjobs
  verbs:
  - delete
# write what is known of a job
- apiGroups:
  - hanse.dev
  resources:
  - federatedjobs/status
  verbs:
  - get
  - patch
# server Jobs and client Jobs
- apiGroups:
  - batch
  resources:
  - jobs
  verbs:
  - get
  - list
  - watch
  - create
  - patch
  - delete
# see why a pod does not run; Jobs create them
- apiGroups:
  - ''
  resources:
  - pods
  verbs:
  - get
  - list
  - watch
# the name under which gates reach a job's server
- apiGroups:
  - ''
  resources:
  - services
  verbs:
  - get
  - create
  - patch
  - delete
# a job's volume; whether output.claimName exists
- apiGroups:
  - ''
  resources:
  - persistentvolumeclaims
  verbs:
  - get
  - create
  - patch
  - delete
# config files of pods; the list of CA keys
- apiGroups:
  - ''
  resources:
  - configmaps
  verbs:
  - get
  - list
  - create
  - patch
  - delete
# CA keys (operator's namespace only), certificates
- apiGroups:
  - ''
  resources:
  - secrets
  verbs:
  - get
  - create
  - patch
  - delete
# tell a missing namespace from a missing Participant
- apiGroups:
  - ''
  resources:
  - namespaces
  verbs:
  - get
# events
- apiGroups:
  - ''
  resources:
  - events
  verbs:
  - create
  - patch
# events
- apiGroups:
  - events.k8s.io
  resources:
  - events
  verbs:
  - create
  - patch
{{- end -}}
{{- define "hanse.rules.participant" -}}
# watch what it serves
- apiGroups:
  - hanse.dev
  resources:
  - federatedjobs
  - participants
  - participations
  - privacybudgets
  verbs:
  - get
  - list
  - watch
# say whether a Participant can be used
- apiGroups:
  - hanse.dev
  resources:
  - participants/status
  verbs:
  - get
  - patch
# ask owners, and sweep what a job left
- apiGroups:
  - hanse.dev
  resources:
  - participations
  verbs:
  - create
  - patch
  - delete
# tell owners what happens
- apiGroups:
  - hanse.dev
  resources:
  - participations/status
  verbs:
  - get
  - patch
# reserve in budgets, fold what was spent
- apiGroups:
  - hanse.dev
  resources:
  - privacybudgets/status
  verbs:
  - get
  - patch
# server Jobs and client Jobs
- apiGroups:
  - batch
  resources:
  - jobs
  verbs:
  - get
  - list
  - watch
  - create
  - patch
  - delete
# see why a pod does not run; Jobs create them
- apiGroups:
  - ''
  resources:
  - pods
  verbs:
  - get
  - list
  - watch
# whether a dataset's claim exists
- apiGroups:
  - ''
  resources:
  - persistentvolumeclaims
  verbs:
  - get
# config files of pods; the list of CA keys
- apiGroups:
  - ''
  resources:
  - configmaps
  verbs:
  - get
  - list
  - create
  - patch
  - delete
# CA keys (operator's namespace only), certificates
- apiGroups:
  - ''
  resources:
  - secrets
  verbs:
  - get
  - create
  - patch
  - delete
# tell a missing namespace from a missing Participant
- apiGroups:
  - ''
  resources:
  - namespaces
  verbs:
  - get
# events
- apiGroups:
  - ''
  resources:
  - events
  verbs:
  - create
  - patch
# events
- apiGroups:
  - events.k8s.io
  resources:
  - events
  verbs:
  - create
  - patch
{{- end -}}
{{- define "hanse.rules.namespaces" -}}
# watch what it serves
- apiGroups:
  - hanse.dev
  resources:
  - federatedjobs
  - participants
  - participations
  - privacybudgets
  verbs:
  - get
  - list
  - watch
# delete at ttlSecondsAfterFinished
- apiGroups:
  - hanse.dev
  resources:
  - federatedjobs
  verbs:
  - delete
# write what is known of a job
- apiGroups:
  - hanse.dev
  resources:
  - federatedjobs/status
  verbs:
  - get
  - patch
# say whether a Participant can be used
- apiGroups:
  - hanse.dev
  resources:
  - participants/status
  verbs:
  - get
  - patch
# ask owners, and sweep what a job left
- apiGroups:
  - hanse.dev
  resources:
  - participations
  verbs:
  - create
  - patch
  - delete
# tell owners what happens
- apiGroups:
  - hanse.dev
  resources:
  - participations/status
  verbs:
  - get
  - patch
# reserve in budgets, fold what was spent
- apiGroups:
  - hanse.dev
  resources:
  - privacybudgets/status
  verbs:
  - get
  - patch
# server Jobs and client Jobs
- apiGroups:
  - batch
  resources:
  - jobs
  verbs:
  - get
  - list
  - watch
  - create
  - patch
  - delete
# see why a pod does not run; Jobs create them
- apiGroups:
  - ''
  resources:
  - pods
  verbs:
  - get
  - list
  - watch
# the name under which gates reach a job's server
- apiGroups:
  - ''
  resources:
  - services
  verbs:
  - get
  - create
  - patch
  - delete
# a job's volume; whether output.claimName exists
- apiGroups:
  - ''
  resources:
  - persistentvolumeclaims
  verbs:
  - get
  - create
  - patch
  - delete
# whether a dataset's claim exists
- apiGroups:
  - ''
  resources:
  - persistentvolumeclaims
  verbs:
  - get
# config files of pods; the list of CA keys
- apiGroups:
  - ''
  resources:
  - configmaps
  verbs:
  - get
  - list
  - create
  - patch
  - delete
# CA keys (operator's namespace only), certificates
- apiGroups:
  - ''
  resources:
  - secrets
  verbs:
  - get
  - create
  - patch
  - delete
# tell a missing namespace from a missing Participant
- apiGroups:
  - ''
  resources:
  - namespaces
  verbs:
  - get
# events
- apiGroups:
  - ''
  resources:
  - events
  verbs:
  - create
  - patch
# events
- apiGroups:
  - events.k8s.io
  resources:
  - events
  verbs:
  - create
  - patch
{{- end -}}
{{- define "hanse.rules.cluster" -}}
# who pushes progress
- apiGroups:
  - authentication.k8s.io
  resources:
  - tokenreviews
  verbs:
  - create
{{- end -}}
{{- define "hanse.rules.gate" -}}
# read the budgets: data belongs to one population
- apiGroups:
  - hanse.dev
  resources:
  - privacybudgets
  verbs:
  - get
  - list
# write releases before they leave
- apiGroups:
  - hanse.dev
  resources:
  - privacybudgets/status
  verbs:
  - get
  - patch
# the certificate of a job
- apiGroups:
  - ''
  resources:
  - configmaps
  verbs:
  - create
{{- end -}}

{{- /* Name of everything that the chart creates; `hanse` as a release gives hanse-operator. */ -}}
{{- define "hanse.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (default "operator" .Values.nameOverride) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "hanse.selector" -}}
app.kubernetes.io/name: hanse
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "hanse.labels" -}}
{{ include "hanse.selector" . }}
app.kubernetes.io/part-of: hanse
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- /* (dict "image" .Values.images.x "root" $): by digest where there is one. */ -}}
{{- define "hanse.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ default .root.Chart.AppVersion .image.tag }}
{{- end -}}
{{- end -}}

{{- /* Refuse what would serve nothing, or keep the CA keys beside the jobs. */ -}}
{{- define "hanse.checkNamespaces" -}}
{{- if not .Values.clusterWide -}}
{{- if not .Values.coordinatorNamespaces -}}
{{- fail "coordinatorNamespaces is empty: name the namespaces whose jobs are served, or set clusterWide: true" -}}
{{- end -}}
{{- range concat .Values.coordinatorNamespaces .Values.participantNamespaces .Values.ownerManagedNamespaces -}}
{{- if eq . $.Release.Namespace -}}
{{- fail (printf "namespace %s is the release's own, where the jobs' CA keys are kept: install into another one" .) -}}
{{- end -}}
{{- end -}}
{{- range .Values.ownerManagedNamespaces -}}
{{- if has . $.Values.participantNamespaces -}}
{{- fail (printf "namespace %s is in participantNamespaces and in ownerManagedNamespaces: remove it from one" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* A container that the `restricted` Pod Security standard admits. */ -}}
{{- define "hanse.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "hanse.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

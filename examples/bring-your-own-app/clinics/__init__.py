"""An ordinary Flower app: logistic regression in numpy on tumour measurements of several clinics."""

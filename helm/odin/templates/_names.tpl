{{/* Names and labels. Selectors of Deployments cannot be changed later: nothing that changes may stand in them. */}}

{{- define "odin.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* At most 40 characters: what is appended ("-provision-" and a hash, "-dev-nats") has to fit in 63. */}}
{{- define "odin.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "odin.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "odin.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "odin.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "odin.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end }}

{{/* What never changes. root, component, and for gateways: track */}}
{{- define "odin.selector" -}}
app.kubernetes.io/name: {{ include "odin.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- with .track }}
odin/track: {{ . }}
{{- end }}
{{- end }}

{{/* The same and what may change. version where it is not the chart's */}}
{{- define "odin.podLabels" -}}
{{ include "odin.selector" . }}
app.kubernetes.io/version: {{ .version | default .root.Chart.AppVersion | toString | trunc 63 | quote }}
app.kubernetes.io/part-of: odin
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* And what pods must not have: with the chart's version in it, each new chart would replace all pods. */}}
{{- define "odin.labels" -}}
{{ include "odin.podLabels" . }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* root, and image to say otherwise (a canary's). A digest counts more than a tag. */}}
{{- define "odin.image" -}}
{{- $image := mergeOverwrite (deepCopy .root.Values.image) (.image | default dict) -}}
{{- if and (dig "tag" "" (.image | default dict)) (not (dig "digest" "" (.image | default dict))) -}}
{{- /* the stable digest would win over the canary's tag */ -}}
{{- $_ := set $image "digest" "" -}}
{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository ($image.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end }}

{{/* What pods of this chart have in common. */}}

{{- define "odin.podCommon" -}}
serviceAccountName: {{ include "odin.serviceAccount" . }}
# Nothing here speaks to the Kubernetes API.
automountServiceAccountToken: false
# Else each Service of the namespace becomes variables of the process, some of which begin with ODIN_.
enableServiceLinks: false
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Variables. root, config, extra */}}
{{- define "odin.env" -}}
{{- if not (dig "nats" "name" "" .config) -}}
# Each pod is told apart in the list of connections of NATS.
- name: ODIN_NATS_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- end }}
{{- with .root.Values.auth.caSecret.name }}
- name: SSL_CERT_FILE
  value: {{ include "odin.mounts" $.root }}/auth-ca/{{ $.root.Values.auth.caSecret.key }}
{{- end }}
{{- with .extra }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The Secret whose keys become variables, and what else is wanted. */}}
{{- define "odin.envFrom" -}}
{{- with .Values.secret.existing }}
- secretRef:
    name: {{ . }}
{{- end }}
{{- if .Values.secret.env }}
- secretRef:
    name: {{ include "odin.fullname" . }}
{{- end }}
{{- with .Values.extraEnvFrom }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/*
The configuration and all files of Secrets in one volume: below a read-only mount no other can be made. Kubernetes changes all of
it at once when one of them changes. root, name of the ConfigMap
*/}}
{{- define "odin.configVolume" -}}
{{- $v := .root.Values -}}
- name: config
  projected:
    # Readable by the group, podSecurityContext.fsGroup, and by nobody else.
    defaultMode: 0440
    sources:
      - configMap:
          name: {{ .name }}
          items:
            - { key: odin.toml, path: odin.toml }
      {{- range $folder, $files := dict
          "nats-creds" (dict "secret" $v.nats.credsSecret.name "keys" (list $v.nats.credsSecret.key))
          "nats-tls" (dict "secret" $v.nats.tlsSecret.name "keys" (list $v.nats.tlsSecret.ca $v.nats.tlsSecret.cert $v.nats.tlsSecret.key))
          "tls" (dict "secret" $v.tls.secret "keys" (list "tls.crt" "tls.key"))
          "auth-key" (dict "secret" $v.auth.publicKeySecret.name "keys" (list $v.auth.publicKeySecret.key))
          "auth-api-keys" (dict "secret" $v.auth.apiKeysSecret.name "keys" (list $v.auth.apiKeysSecret.key))
          "auth-ca" (dict "secret" $v.auth.caSecret.name "keys" (list $v.auth.caSecret.key)) }}
      {{- if $files.secret }}
      - secret:
          name: {{ $files.secret }}
          items:
            {{- range compact $files.keys }}
            - { key: {{ . }}, path: secrets/{{ $folder }}/{{ . }} }
            {{- end }}
      {{- end }}
      {{- end }}
{{- end }}

{{/* The port for clients of a Service. */}}
{{- define "odin.publicPort" -}}
{{- $isTls := not (not .Values.tls.secret) -}}
- name: {{ ternary "https" "http" $isTls }}
  port: {{ .Values.service.port }}
  targetPort: public
  {{- with .Values.service.nodePort }}
  nodePort: {{ . }}
  {{- end }}
  # Service meshes and load balancers that look at it treat a WebSocket as an upgraded HTTP connection.
  appProtocol: {{ .Values.service.appProtocol | default (ternary "https" "http" $isTls) }}
{{- end }}

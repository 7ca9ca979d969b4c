{{/* root, service: where the paths lead */}}
{{- define "odin.ingressSpec" -}}
{{- $v := .root.Values -}}
{{- with $v.ingress.className -}}
ingressClassName: {{ . }}
{{ end -}}
rules:
  {{- range $v.ingress.hosts }}
  - host: {{ . | quote }}
    http:
      paths:
        {{- range $v.ingress.paths }}
        - path: {{ . }}
          pathType: Prefix
          backend:
            service:
              name: {{ $.service }}
              port:
                name: {{ ternary "https" "http" (not (not $v.tls.secret)) }}
        {{- end }}
  {{- end }}
{{- with $v.ingress.tls }}
tls:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

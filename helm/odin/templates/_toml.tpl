{{/*
TOML from values. Helm's own toToml writes 50 as 50.0 and 10000000 as 1e+07, for all numbers of YAML are fractions to it, and
the gateway rightly refuses those.
*/}}

{{- define "odin.toml" -}}
{{- $config := . -}}
{{- /* Plain options first: what follows the head of a table belongs to the table. */ -}}
{{- range $key, $value := $config -}}
{{- if not (or (kindIs "map" $value) (kindIs "invalid" $value) (include "odin.toml.isTables" $value)) }}
{{ include "odin.toml.key" $key }} = {{ include "odin.toml.value" $value }}
{{- end -}}
{{- end -}}
{{- range $name, $table := $config -}}
{{- if kindIs "map" $table }}

[{{ include "odin.toml.key" $name }}]
{{- range $key, $value := $table -}}
{{- if not (kindIs "invalid" $value) }}
{{ include "odin.toml.key" $key }} = {{ include "odin.toml.value" $value }}
{{- end -}}
{{- end -}}
{{- else if include "odin.toml.isTables" $table -}}
{{- range $row := $table }}

[[{{ include "odin.toml.key" $name }}]]
{{- range $key, $value := $row -}}
{{- if not (kindIs "invalid" $value) }}
{{ include "odin.toml.key" $key }} = {{ include "odin.toml.value" $value }}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* "true" for a list of tables, such as rules. */}}
{{- define "odin.toml.isTables" -}}
{{- if and (kindIs "slice" .) . -}}
{{- if kindIs "map" (first .) -}}true{{- end -}}
{{- end -}}
{{- end }}

{{- define "odin.toml.key" -}}
{{- if regexMatch `^[A-Za-z0-9_-]+$` . -}}{{ . }}{{- else -}}{{ toRawJson . }}{{- end -}}
{{- end }}

{{- define "odin.toml.value" -}}
{{- if kindIs "map" . -}}
{{- $members := list -}}
{{- range $key, $value := . -}}
{{- if not (kindIs "invalid" $value) -}}
{{- $members = append $members (printf "%s = %s" (include "odin.toml.key" $key) (include "odin.toml.value" $value)) -}}
{{- end -}}
{{- end -}}
{ {{ join ", " $members }} }
{{- else if kindIs "slice" . -}}
{{- $items := list -}}
{{- range $value := . -}}
{{- $items = append $items (include "odin.toml.value" $value) -}}
{{- end -}}
[{{ join ", " $items }}]
{{- else if kindIs "float64" . -}}
{{- if eq (floor .) . -}}{{ int64 . }}{{- else -}}{{ . }}{{- end -}}
{{- else if kindIs "string" . -}}
{{- /* The escapes of JSON are those of TOML. */ -}}
{{ toRawJson . }}
{{- else -}}
{{ . }}
{{- end -}}
{{- end }}

{{/* Times, sizes and numbers with a unit, as the gateway or Kubernetes write them. What cannot be read ends the rendering. */}}

{{/* A time such as "1m 30s", in whole seconds, rounded up. name, value */}}
{{- define "odin.seconds" -}}
{{- $text := .value | toString | trim -}}
{{- if not (regexMatch `^([0-9]+\s*[a-zA-Z]+\s*)+$` $text) -}}
{{- fail (printf "%s: invalid time %q: expected a number and a unit, such as 25s or 1m 30s" .name $text) -}}
{{- end -}}
{{- $units := dict "ms" 1 "msec" 1 "millis" 1
  "s" 1000 "sec" 1000 "secs" 1000 "second" 1000 "seconds" 1000
  "m" 60000 "min" 60000 "mins" 60000 "minute" 60000 "minutes" 60000
  "h" 3600000 "hr" 3600000 "hrs" 3600000 "hour" 3600000 "hours" 3600000
  "d" 86400000 "day" 86400000 "days" 86400000 -}}
{{- $ms := 0 -}}
{{- range regexFindAll `[0-9]+\s*[a-zA-Z]+` $text -1 -}}
{{- $unit := regexFind `[a-zA-Z]+$` . -}}
{{- if not (hasKey $units $unit) -}}
{{- fail (printf "%s: unknown unit %q in %q" $.name $unit $text) -}}
{{- end -}}
{{- $ms = add $ms (mul (regexFind `^[0-9]+` . | atoi) (get $units $unit)) -}}
{{- end -}}
{{- div (add $ms 999) 1000 -}}
{{- end }}

{{/* A size such as "256MiB" of the configuration, or "1Gi" of Kubernetes, in bytes. name, value */}}
{{- define "odin.bytes" -}}
{{- $text := .value | toString | trim -}}
{{- $units := dict "" 1 "b" 1 "k" 1000 "kb" 1000 "m" 1000000 "mb" 1000000 "g" 1000000000 "gb" 1000000000
  "t" 1000000000000 "tb" 1000000000000 "ki" 1024 "kib" 1024 "mi" 1048576 "mib" 1048576
  "gi" 1073741824 "gib" 1073741824 "ti" 1099511627776 "tib" 1099511627776 -}}
{{- $unit := regexFind `[a-zA-Z]*$` $text | lower -}}
{{- $number := regexFind `^[0-9]+(\.[0-9]+)?` $text -}}
{{- if or (not $number) (not (hasKey $units $unit)) -}}
{{- fail (printf "%s: invalid size %q: expected a number and a unit, such as 256MiB" .name $text) -}}
{{- end -}}
{{- mulf ($number | float64) (get $units $unit) | floor | int64 -}}
{{- end }}

{{/* CPU such as "1500m" or 2, in whole cores, rounded up, at least 1. */}}
{{- define "odin.cores" -}}
{{- $text := . | toString -}}
{{- if hasSuffix "m" $text -}}
{{- max 1 (div (add (trimSuffix "m" $text | atoi) 999) 1000) -}}
{{- else -}}
{{- max 1 (ceil ($text | float64) | int64) -}}
{{- end -}}
{{- end }}

{{/* The port at the end of "0.0.0.0:8080" or "[::]:8080". name, value */}}
{{- define "odin.port" -}}
{{- $port := regexFind `:[0-9]+$` (.value | toString) | trimPrefix ":" -}}
{{- if not $port -}}
{{- fail (printf "%s: invalid address %q: expected ip:port" .name .value) -}}
{{- end -}}
{{- $port -}}
{{- end }}

{{/* Labels of an object: (list $ "operator") or (list $ "valkey" "valkey"), the third being the name. */}}
{{- define "stormfold.labels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ if gt (len .) 2 }}{{ index . 2 }}{{ else }}stormfold{{ end }}
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/part-of: stormfold
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "stormfold.selector" -}}
app.kubernetes.io/name: stormfold
app.kubernetes.io/component: operator
{{- end }}

{{- define "stormfold.valkeySelector" -}}
app.kubernetes.io/name: valkey
app.kubernetes.io/component: valkey
{{- end }}

{{/* The name of an image: (list .Values.image "default tag"). */}}
{{- define "stormfold.image" -}}
{{- $image := index . 0 -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default (index . 1) }}
{{- end -}}
{{- end }}

{{/* The Secret with the URL of Redis. */}}
{{- define "stormfold.redisSecret" -}}
{{- if .Values.redis.existingSecret -}}
{{ .Values.redis.existingSecret }}
{{- else if .Values.valkey.enabled -}}
stormfold-redis
{{- else -}}
{{- fail "redis.existingSecret is not set, and valkey.enabled is false: name the Secret whose key `url` says where Redis is" -}}
{{- end -}}
{{- end }}

{{/* Who the processes of a pod run as. */}}
{{- define "stormfold.user" -}}
runAsNonRoot: true
{{- if not .Values.arbitraryUserIds }}
runAsUser: 65532
runAsGroup: 65532
{{- end }}
{{- end }}

{{/* What a container may do. */}}
{{- define "stormfold.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
readOnlyRootFilesystem: true
{{- end }}

{{/* Fails if a value sets a name that the chart sets: (list value the-names-in-it the-chart's-names). */}}
{{- define "stormfold.notOurs" -}}
{{- range $name := index . 1 }}
{{- if has $name (index $ 2) }}
{{- fail (printf "%s sets %s, which the chart sets: remove it there" (index $ 0) $name) }}
{{- end }}
{{- end }}
{{- end }}

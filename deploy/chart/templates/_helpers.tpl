{{/* One of the manifests, with the release's namespace and port, and Helm as who manages it. */}}
{{- define "wharf.manifest" -}}
{{- $root := index . 0 -}}
{{- $root.Files.Get (printf "manifests/%s.yaml" (index . 1))
    | replace "wharf-system" $root.Release.Namespace
    | replace "--port=5000" (printf "--port=%d" (int $root.Values.port))
    | replace "app.kubernetes.io/managed-by: wharf" (printf "app.kubernetes.io/managed-by: %s" $root.Release.Service) -}}
{{- end -}}

{{- define "wharf.image" -}}
{{- $repository := required "image.repository is not set: no image of wharf is published, so build one (deploy/Containerfile) and say where the nodes have it or can pull it" .Values.image.repository -}}
{{- printf "%s:%s" $repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}

{{/* The image, in a workload's first container. */}}
{{- define "wharf.setImage" -}}
{{- $root := index . 0 -}}
{{- $pod := index . 1 -}}
{{- $container := first $pod.containers -}}
{{- $_ := set $container "image" (include "wharf.image" $root) -}}
{{- $_ := set $container "imagePullPolicy" $root.Values.image.pullPolicy -}}
{{- with $root.Values.imagePullSecrets }}{{ $_ := set $pod "imagePullSecrets" . }}{{ end -}}
{{- end -}}

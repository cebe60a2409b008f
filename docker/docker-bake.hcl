// Both images for their platforms: docker buildx bake -f docker/docker-bake.hcl [host|jetson].
// Everything that a build depends on is a variable here; each may be set in the environment.
variable "REGISTRY" { default = "" }           // "bench.lan:5000/" with its slash
variable "TAG" { default = "latest" }
// Bases by digest where it is known; `scripts/lock.sh bases` asks their registries and writes the present ones here.
variable "HOST_BASE" { default = "python:3.11-slim-bookworm@sha256:528257d48c1da0dcecc2e725d1ae34498d60c965f1241e39cd6a85a8859bdf84" }
variable "JETSON_BASE" { default = "nvcr.io/nvidia/l4t-base:r32.7.1" } // never fetched by us: the build labels what it met
variable "TOOLS" { default = "python:3.11-slim-bookworm@sha256:528257d48c1da0dcecc2e725d1ae34498d60c965f1241e39cd6a85a8859bdf84" }
variable "HOST_BASE_DIGEST" { default = "" }   // of a base without one in its name; dime build finds it out
variable "JETSON_BASE_DIGEST" { default = "" }
variable "HOST_PLATFORMS" { default = "linux/amd64,linux/arm64" }
variable "HOST_TORCH" { default = "cpu" }      // cpu, cuda, boards, wheels, none
variable "TORCH_INDEX" { default = "https://download.pytorch.org/whl/cpu" }
variable "TORCH" { default = "1.11" }          // of the Jetson: 1.10 has kernels for the Nano's sm_53
variable "TORCH_SHA256" { default = "" }
variable "JETSON_PYTHON" { default = "3.6" }
variable "JETSON_PACKAGES" { default = "python3 libomp5 libopenblas-base libopenmpi2 libjpeg-turbo8" }
variable "HOST_WHEELS" { default = "" }        // folders that stand in for downloads
variable "JETSON_WHEELS" { default = "" }
variable "VERSION" { default = "unknown" }     // dime build tells it
variable "REVISION" { default = "unknown" }
variable "SOURCE" { default = "unknown" }
variable "SOURCE_DATE_EPOCH" { default = "0" } // the same date gives the same layers
variable "ATTEST" { default = "1" }            // empty for an engine whose image store holds no attestations
variable "SBOM" { default = "" }               // 1 where the builder can reach its scanner; dime build finds it out

function "tags" {
  params = [name]
  result = concat(
    ["${REGISTRY}${name}:${TAG}"],
    REGISTRY == "" || REVISION == "unknown" ? [] : ["${REGISTRY}${name}:${REVISION}"]
  )
}

function "labels" {
  params = [base, digest]
  result = { for key, value in {
    version       = VERSION
    revision      = REVISION
    source        = SOURCE
    created       = timeadd("1970-01-01T00:00:00Z", "${SOURCE_DATE_EPOCH}s")
    "base.name"   = split("@", base)[0]
    "base.digest" = length(split("@", base)) > 1 ? split("@", base)[1] : digest
  } : "org.opencontainers.image.${key}" => value if value != "" && value != "unknown" }
}

group "default" { targets = ["host", "jetson"] }

target "common" {
  context = "."
  attest = ATTEST == "" ? [] : concat(["type=provenance,mode=min"], SBOM == "" ? [] : ["type=sbom"])
  args = { SOURCE_DATE_EPOCH = SOURCE_DATE_EPOCH }
}

target "host" {
  inherits   = ["common"]
  dockerfile = "images/host/Dockerfile"
  platforms  = split(",", HOST_PLATFORMS)
  tags       = tags("dime-host")
  labels     = labels(HOST_BASE, HOST_BASE_DIGEST)
  contexts   = HOST_WHEELS == "" ? {} : { wheels = HOST_WHEELS }
  args       = { BASE = HOST_BASE, TORCH = HOST_TORCH, TORCH_INDEX = TORCH_INDEX }
}

target "jetson" {
  inherits   = ["common"]
  dockerfile = "images/jetson/Dockerfile"
  platforms  = ["linux/arm64"]
  tags       = tags("dime-jetson")
  labels     = labels(JETSON_BASE, JETSON_BASE_DIGEST)
  contexts   = JETSON_WHEELS == "" ? {} : { wheels = JETSON_WHEELS }
  args = {
    BASE = JETSON_BASE, TOOLS = TOOLS, TORCH = TORCH, TORCH_SHA256 = TORCH_SHA256
    PYTHON = JETSON_PYTHON, PACKAGES = JETSON_PACKAGES
  }
}

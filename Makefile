# Each target is one line over the command `dime`; `make` alone lists them with an example.
.DEFAULT_GOAL := help
SHELL := /bin/bash
DIME := .venv/bin/dime
RUN = $(if $(RUNTIME),DIME_RUNTIME="$$RUNTIME" )$(DIME)  # RUNTIME=docker: in the host image, with the same results

include scripts/options.mk  # options.TARGET: what its command takes

# NAME=value becomes --name="$NAME", where it was given on make's command line: make exports it, so no shell reads the value
given := $(foreach name,$(.VARIABLES),$(if $(findstring command,$(origin $(name))),$(name)))
options = $(foreach name,$(filter $(given),$(options.$@)),--$(shell echo $(name) | tr 'A-Z_' 'a-z-')="$$$(name)")

words.join := DEVICE NET RESULTS  # which name the run
words.release := REGISTRY

# A name that no target asked for takes is refused: it would be dropped without a word
everywhere := ARGS DIME PYTHON RUNTIME SETUP_TORCH
ifneq ($(filter-out $(everywhere) DIME_%,$(given)),)
goals := $(shell sed -nE 's/^([a-z-]+):.*/\1/p' Makefile)
goals := $(filter $(goals),$(MAKECMDGOALS))
takes := $(sort $(foreach goal,$(goals),$(options.$(goal)) $(words.$(goal))))
strange := $(firstword $(filter-out $(everywhere) DIME_% $(takes),$(given)))
ifneq ($(strange),)
quoted := '$(subst ','\'',$(strange))'
nearest := $(shell python3 -c 'import difflib, sys; print(*difflib.get_close_matches(sys.argv[1].upper(), sys.argv[2:], 1))' $(quoted) $(takes) 2>/dev/null)
$(error make $(goals) takes no $(strange)=$(if $(nearest),; did you mean $(nearest)=?); it takes: $(or $(takes),nothing))
endif
endif

.PHONY: help setup compare demo test test-lab test-networks check network samples profile link join solve report verify sweep power-server build push collect clean-device doctor artifact check-artifact

help:  ## this list
	@echo "DIME: which layers of a network should run where, and at which clock"; echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo; echo "Options are written NAME=value; dime COMMAND --help explains each of them."

setup:  ## makes .venv with everything below needs (every target does this by itself)
	@scripts/setup.sh

demo: setup  ## a weak device, a server, four links; one plan run   make demo NET=torchvision:mobilenet_v3_small
	@$(DIME) demo $(options)

test: setup  ## the tests that are told in ten minutes      make test ARGS="-k links"
	@scripts/test.sh quick

.PHONY: test-all docs release
test-all: setup  ## every test; benchmarks, and the lab where it is asked for
	@scripts/test.sh all

test-lab: setup  ## the tests on stand-in boards with real engines (root)
	@DIME_LAB=1 PYTEST_ADDOPTS="$$ARGS" .venv/bin/python -m pytest tests/lab

test-networks: setup  ## every network of torchvision, timm's families
	@DIME_NETWORKS=1 .venv/bin/python -m pytest -s tests/device/graphs/test_every_network.py

docs: setup  ## the documentation, build/docs/index.html
	@.venv/bin/sphinx-build -q -n -W --keep-going -b html -d build/doctrees docs build/docs && echo build/docs/index.html

release: setup  ## wheel, source archive, both images; checked  make release REGISTRY=bench:5000
	@REGISTRY="$$REGISTRY" scripts/release.sh

check: setup  ## style and types
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy && .venv/bin/lint-imports

network: setup  ## where a network can be cut                make network NET=torchvision:resnet50
	@$(RUN) network $(options)

samples: setup  ## inputs of every layer from pictures          make samples NET=vgg11 SOURCE=imagenette
	@$(RUN) samples $(options)

profile: setup  ## times every bundle on a device               make profile DEVICE=nano NET=alexnet
	@$(DIME) profile $(options)

link: setup  ## round trip and rates between two devices     make link EDGE=nano SERVER=pc
	@$(DIME) link $(options)

join: setup  ## timings + power = joules a bundle            make join DEVICE=nano NET=alexnet
	@$(DIME) join --run="$${RESULTS:-results}/$${DEVICE:?is missing: make join DEVICE=nano NET=alexnet}/$${NET:?is missing: make join DEVICE=nano NET=alexnet}" $(options)

solve: setup  ## the best plan for each link                  make solve NET=vgg11 LINK=4G GOAL=latency
	@$(RUN) solve $(options)

report: setup  ## a study's report and figures, anew        make report PLANS=results/plans/vgg11/001 FIGURES=1
	@$(RUN) report $(options)

verify: setup  ## runs the plans, predicted against measured     make verify PLANS=results/plans/alexnet/001
	@$(DIME) verify $(options)

compare: setup  ## studies side by side    make compare FIRST=results/plans/vgg11/001 SECOND=results/plans/vgg11/002
	@$(RUN) compare $(options)

sweep: setup  ## the published tables                         make sweep NET=alexnet EDGE=nano SERVER=wiscad
	@$(RUN) sweep $(options)

power-server: setup  ## logs power for devices that ask for it      make power-server SERIAL=/dev/ttyUSB0 BAUD=500000
	@$(DIME) power serve $(options)

build: setup  ## both images                                  make build DEVICE=nano TORCH=1.10
	@$(DIME) build $(options)

push: setup  ## both images to a registry                    make push REGISTRY=bench:5000
	@$(DIME) push $(options)

collect: setup  ## results of runs that nobody waited for       make collect DEVICE=nano
	@$(DIME) collect $(options)

clean-device: setup  ## removes all that is ours from a device      make clean-device DEVICE=nano
	@$(DIME) clean-device $(options)

artifact: setup  ## packs studies for others to check           make artifact STUDIES="results/plans/vgg11/001" TITLE="..."
	@$(DIME) artifact $(options)

check-artifact: setup  ## checks every number of an archive           make check-artifact ARTIFACT=dime-artifact-....zip
	@$(RUN) check-artifact $(options)

.PHONY: repeat-artifact
repeat-artifact: setup  ## measures an archive's networks here           make repeat-artifact ARTIFACT=dime-artifact-....zip
	@$(DIME) repeat-artifact $(options)

doctor: setup  ## tries every part of the lab file             make doctor DEVICE=nano
	@$(DIME) doctor $(options)

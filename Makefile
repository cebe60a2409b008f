# Each target is one line over the command `dime`; `make` alone lists them with an example.
.DEFAULT_GOAL := help
SHELL := /bin/bash
DIME := .venv/bin/dime
RUN = $(if $(RUNTIME),DIME_RUNTIME="$$RUNTIME" )$(DIME)  # RUNTIME=docker: in the host image, with the same results

# NAME=value becomes --name="$NAME", where it was given on make's command line: make exports it, so no shell reads the value
given := $(foreach name,$(.VARIABLES),$(if $(findstring command,$(origin $(name))),$(name)))
opt = $(foreach name,$(filter $(given),$(1)),--$(shell echo $(name) | tr 'A-Z_' 'a-z-')="$$$(name)")

# A name that no target asked for takes is refused: it would be dropped without a word
everywhere := ARGS DIME PYTHON RUNTIME SETUP_TORCH
ifneq ($(filter-out $(everywhere) DIME_%,$(given)),)
goals := $(shell sed -nE 's/^([a-z-]+):.*/\1/p' Makefile)
goals := $(filter $(goals),$(MAKECMDGOALS))
takes := $(sort $(shell awk -v goals=' $(goals) ' -F : '/^[a-z-]+:/ {ours = index(goals, " " $$1 " ")} /^\t/ && ours' Makefile | grep -oE '[A-Z][A-Z_]+'))
takes := $(filter-out RUN $(everywhere),$(takes))
strange := $(firstword $(filter-out $(everywhere) DIME_% $(takes),$(given)))
ifneq ($(strange),)
quoted := '$(subst ','\'',$(strange))'
nearest := $(shell python3 -c 'import difflib, sys; print(*difflib.get_close_matches(sys.argv[1].upper(), sys.argv[2:], 1))' $(quoted) $(takes) 2>/dev/null)
$(error make $(goals) takes no $(strange)=$(if $(nearest),; did you mean $(nearest)=?); it takes: $(or $(takes),nothing))
endif
endif

.PHONY: help setup demo test test-lab test-networks check network samples profile join solve report sweep power-server build push collect clean-device doctor

help:  ## this list
	@echo "DIME: which layers of a network should run where, and at which clock"; echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo; echo "Options are written NAME=value; dime COMMAND --help explains each of them."

setup:  ## makes .venv with everything below needs (every target does this by itself)
	@scripts/setup.sh

demo: setup  ## profiles AlexNet on this machine, plans it for three links
	@$(DIME) demo $(call opt,NET RUNS ITERATIONS EDGE_POWER RESULTS)

test: setup  ## the whole test suite                        make test ARGS="-k links"
	@PYTEST_ADDOPTS="$$ARGS" .venv/bin/python -m pytest

test-lab: setup  ## the tests on stand-in boards with real engines (root)
	@DIME_LAB=1 PYTEST_ADDOPTS="$$ARGS" .venv/bin/python -m pytest tests/lab

test-networks: setup  ## every network of torchvision, timm's families
	@DIME_NETWORKS=1 .venv/bin/python -m pytest -s tests/device/graphs/test_every_network.py

check: setup  ## style and types
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy && .venv/bin/lint-imports

network: setup  ## where a network can be cut                make network NET=torchvision:resnet50
	@$(RUN) network $(call opt,NET INPUT BATCH DTYPE CUTS NAME FIGURE)

samples: setup  ## inputs of every layer from pictures          make samples NET=vgg11 SOURCE=imagenette
	@$(RUN) samples $(call opt,NET SOURCE SAMPLES WEIGHTS INPUT BATCH DTYPE CUTS NAME)

profile: setup  ## times every bundle on a device               make profile DEVICE=nano NET=alexnet
	@$(DIME) profile $(call opt,DEVICE NET FREQS RUNS ITERATIONS WARMUPS MAX_LAYERS ENERGY_ERROR THREADS SEED SAMPLES WEIGHTS INPUT BATCH DTYPE CUTS NAME RESULTS LAB)

join: setup  ## timings + power = joules a bundle            make join DEVICE=nano NET=alexnet
	@$(DIME) join --run="$${RESULTS:-results}/$${DEVICE:?is missing: make join DEVICE=nano NET=alexnet}/$${NET:?is missing: make join DEVICE=nano NET=alexnet}" $(call opt,POWER CLOCK CHANNEL ENERGY_ERROR CALIBRATION FORCE)

solve: setup  ## the best plan for each link                  make solve NET=vgg11 LINK=4G GOAL=latency
	@$(RUN) solve $(call opt,NET EDGE SERVER LINK GOAL MAX_LATENCY MAX_ENERGY PRIVATE MEMORY FREQS MAX_BUNDLE RULE EDGE_POWER ARITHMETIC RESULT_BYTES SIZES CSV_UNIT LAYERS CONFIDENCE REPLICATES SOLVER TIME_LIMIT GAP RESULTS OUT WRITE_LP FIGURES)

report: setup  ## a study's report and figures, anew        make report PLANS=results/plans/vgg11/001 FIGURES=1
	@$(RUN) report $(call opt,PLANS FIGURES)

sweep: setup  ## the published tables                         make sweep NET=alexnet EDGE=nano SERVER=wiscad
	@$(RUN) sweep $(call opt,NET EDGE SERVER LINK EDGE_POWER PRIVATE MEMORY FREQS MAX_BUNDLE RULE ARITHMETIC RESULT_BYTES SIZES CSV_UNIT LAYERS RESULTS OUT)

power-server: setup  ## logs power for devices that ask for it      make power-server SERIAL=/dev/ttyUSB0 BAUD=500000
	@$(DIME) power serve $(call opt,ADDRESS PORT METER SERIAL BAUD CHANNEL RECORDING COMMAND FOLDER KEEP OPEN)

build: setup  ## both images                                  make build DEVICE=nano TORCH=1.10
	@$(DIME) build $(call opt,IMAGE DEVICE PLATFORM REGISTRY TORCH LAB)

push: setup  ## both images to a registry                    make push REGISTRY=bench:5000
	@$(DIME) push $(call opt,REGISTRY IMAGE TORCH LAB)

collect: setup  ## results of runs that nobody waited for       make collect DEVICE=nano
	@$(DIME) collect $(call opt,DEVICE RESULTS LAB)

clean-device: setup  ## removes all that is ours from a device      make clean-device DEVICE=nano
	@$(DIME) clean-device $(call opt,DEVICE LAB)

doctor: setup  ## tries every part of the lab file             make doctor DEVICE=nano
	@$(DIME) doctor $(call opt,DEVICE LAB)

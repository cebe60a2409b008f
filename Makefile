# Each target is one line over the command `dime`; `make` alone lists them with an example.
.DEFAULT_GOAL := help
SHELL := /bin/bash
DIME := .venv/bin/dime

# NAME=value becomes --name=value, where it was given on make's command line
opt = $(foreach name,$(1),$(if $(findstring command,$(origin $(name))),--$(shell echo $(name) | tr 'A-Z_' 'a-z-')="$($(name))"))


.PHONY: help setup demo test check samples profile solve

help:  ## this list
	@echo "DIME: which layers of a network should run where, and at which clock"; echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo; echo "Options are written NAME=value; dime COMMAND --help explains each of them."

setup:  ## makes .venv with everything below needs (every target does this by itself)
	@scripts/setup.sh

demo: setup  ## profiles AlexNet on this machine and plans it for three links
	@$(DIME) demo $(call opt,NET RUNS ITERATIONS RESULTS)

test: setup  ## the whole test suite                          make test ARGS="-k links"
	@.venv/bin/python -m pytest $(ARGS)

check: setup  ## style and types
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy

samples: setup  ## inputs of every layer from pictures            make samples NET=vgg11 SOURCE=imagenette
	@$(DIME) samples $(call opt,NET SOURCE SAMPLES WEIGHTS)

profile: setup  ## times every bundle on a device                 make profile DEVICE=local NET=vgg11
	@$(DIME) profile $(call opt,DEVICE NET FREQS RUNS ITERATIONS WARMUPS MAX_LAYERS THREADS SEED SAMPLES WEIGHTS RESULTS LAB)

solve: setup  ## the best plan for each link                     make solve NET=vgg11 LINK=4G GOAL=latency
	@$(DIME) solve $(call opt,NET EDGE SERVER LINK GOAL MAX_LATENCY MAX_ENERGY SOLVER RESULTS OUT)

# Every target is one line of `python -m helpers.course`, in an environment of its own.
# make PYTHON=/path/to/python picks the interpreter; make CONSTRAINTS= takes the newest versions.
CONSTRAINTS ?= constraints.txt
INSTALLED := .venv/.installed
PIP_OPTIONS := --disable-pip-version-check $(if $(CONSTRAINTS),-c $(CONSTRAINTS))
OFFLINE := $(if $(wildcard wheelhouse),--no-index --find-links wheelhouse)
COURSE := .venv/bin/python -m helpers.course
COMMANDS := results test faults colab-test site notebooks reference sweep lint lab clean

export PYTHON
SUITABLE := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
USABLE := import sys, pip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
IMPORTABLE := import os, sysconfig; site = sysconfig.get_path("purelib"); \
	open(os.path.join(site, "course.pth"), "w").write(os.path.relpath(os.getcwd(), site) + "\n")

.PHONY: help bench publish scale wheelhouse $(COMMANDS)
help:
	@echo "make results | lab | site | test | faults | colab-test | lint | clean"
	@echo "make bench | scale | notebooks | publish | reference | sweep | wheelhouse"

$(COMMANDS): $(INSTALLED)
	@$(COURSE) $@

bench: .venv/.installed-bench
	@$(COURSE) $@

scale: .venv/.installed-spark
	@$(COURSE) $@

publish: $(INSTALLED)
	@$(COURSE) $@ $(if $(REPO),--repo '$(REPO)') $(if $(REF),--ref '$(REF)')

.venv/.installed-%: requirements-%.txt $(INSTALLED)
	.venv/bin/python -m pip install $(PIP_OPTIONS) -r $<
	@touch $@

$(INSTALLED): requirements.txt requirements-dev.txt $(CONSTRAINTS)
	@rm -f $(INSTALLED)
	@.venv/bin/python -c '$(USABLE)' 2>/dev/null || { \
		for python in "$$PYTHON" python3 python3.13 python3.12 python3.11; do \
			"$$python" -c '$(SUITABLE)' 2>/dev/null && exec "$$python" -m venv --clear .venv; \
		done; \
		echo "No Python 3.11, 3.12 or 3.13 with venv was found; install one," \
			"or name it: make PYTHON=/path/to/python" >&2; \
		exit 1; }
	.venv/bin/python -m pip install $(PIP_OPTIONS) $(OFFLINE) -r requirements-dev.txt
	@.venv/bin/python -c '$(IMPORTABLE)'
	@touch $(INSTALLED)

# All wheels in one folder, to carry to machines without network, which then install from it.
wheelhouse: $(INSTALLED)
	@rm -rf .wheelhouse.new
	.venv/bin/python -m pip wheel $(PIP_OPTIONS) -w .wheelhouse.new -r requirements-dev.txt
	@rm -rf wheelhouse && mv .wheelhouse.new wheelhouse

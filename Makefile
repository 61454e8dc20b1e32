# Every target is one line of `python -m course`, in an environment of its own (course/setup.py).
# make PYTHON=/path/to/python picks the interpreter; make CONSTRAINTS= takes the newest versions.
CONSTRAINTS ?= constraints.txt
export PYTHON CONSTRAINTS
unexport PYTHONSAFEPATH # which would hide the course from `python -m course`
INSTALLED := .venv/.installed
COURSE := .venv/bin/python -m course
SETUP := python3 course/setup.py
COMMANDS := results reference notebooks sweep test faults colab-test site lint clean wheelhouse

.PHONY: help setup all lab bench publish scale unseen $(COMMANDS)
help:
	@echo "make results | lab | site | test | faults | colab-test | lint | clean"
	@echo "make all (publish | sweep | reference | notebooks) | bench | scale | unseen | wheelhouse"

$(COMMANDS): $(INSTALLED)
	@$(COURSE) $@

# Everything that must be regenerated when a number changes, in the order in which one reads the other.
all: $(INSTALLED)
	@for step in publish sweep reference notebooks; do $(COURSE) $$step || exit; done

bench: .venv/.installed-bench
	@$(COURSE) $@

scale: .venv/.installed-spark
	@$(COURSE) $@

publish: $(INSTALLED)
	@$(COURSE) $@ $(if $(REPO),--repo '$(REPO)') $(if $(REF),--ref '$(REF)')

unseen: $(INSTALLED)
	@$(COURSE) $@ $(if $(SOURCE),--source '$(SOURCE)')

lab: $(INSTALLED)
	@$(COURSE) $@ $(OPTIONS)

setup: $(INSTALLED)

# setup.py looks whether there is anything to do: PYTHON= and CONSTRAINTS= may differ from the last call.
.venv/.installed-%: always $(INSTALLED)
	@$(SETUP) requirements-$*.txt

$(INSTALLED): always
	@$(SETUP)

.PHONY: always
always:

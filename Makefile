# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
#
# Each target first does whatever earlier steps are missing.

PY = build/venv/bin/python
CONFIG = build/config.json
VENV = build/venv/.complete
# Of make install: the prefix if it is not the configured one, a folder to stage everything in, and what else to bring:
# extras=simulate is for flux-sched simulate.
prefix =
DESTDIR =
extras =

all: build

$(CONFIG): configure configure.py tools/packages.sh
	@./configure --recheck $(PACKAGES)

# As root in a container what is missing is installed; anywhere else it is named.
demo: PACKAGES = --install-packages
check: PACKAGES = --install-packages=tests

$(VENV): $(CONFIG) pyproject.toml
	@./configure --make-venv

build: $(VENV)
	@$(PY) setup.py -q build_tree

# With two more processes than cores, as many tests wait; tests of one file run one after another. t/conftest.py says in
# which order, and when one process will do.
check: build
	@$(PY) -m pytest -n auto --dist loadfile --no-loadscope-reorder $(CHECK)

demo: build
	@$(PY) -m fluxsched.session.demo

bench: build
	@for bench in bench/bench_*.py; do \
	    echo "== $$bench"; $(PY) "$$bench" || exit 1; \
	done

lint: build
	@$(PY) tools/lint.py

# Builds of their own that look for faults; TESTS="t/test_x.py ..." instead of the tests of the engine.
debug asan: build
	@$(PY) tools/checked.py $@ $(TESTS)

# FUZZ_SECONDS=60 for each reader, or for some: READERS="swf sacct".
fuzz: build
	@$(PY) tools/fuzz.py $(READERS)

coverage: build
	@$(PY) tools/cover.py $(TESTS)

man: build
	@$(PY) tools/man.py

install: build
	@$(PY) setup.py -q install_tree --prefix="$(prefix)" --destdir="$(DESTDIR)" --extras="$(extras)"

clean:
	rm -rf build/debug build/asan build/coverage build/man build/doctrees
	rm -rf build/lib build/temp build/cython build/wheel build/pytest_cache build/ruff_cache sched/*.so
	find . -path ./build -prune -o -name __pycache__ -prune -exec rm -rf {} +

distclean: clean
	rm -rf build .hypothesis

.NOTPARALLEL:
.PHONY: all build check demo bench lint debug asan coverage fuzz man install clean distclean

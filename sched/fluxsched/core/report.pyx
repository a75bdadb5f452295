# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
# cython: boundscheck=True, wraparound=True
"""What the engine tells Python hosts: who holds what, as R objects and as text."""
from libc.stdlib cimport free

from fluxsched.core.alloc cimport Entry
from fluxsched.core.bits cimport count_bits, get_bit
from fluxsched.core.engine cimport EngineBase
from fluxsched.core.inventory cimport shared_text
from fluxsched.core.job cimport JOB_RUNNING, Job
from fluxsched.core.memory cimport zeroed
from fluxsched.core.types cimport USEC, i32, i64, time_never, u64

from fluxsched.core.nodeview import mask_of_runs, runs_of_mask
from fluxsched.formats import idset as _idset
from fluxsched.formats import r as _r


def _bracket(ids):
    return ids if ids.isdigit() else f"[{ids}]"


cdef class EngineReports(EngineBase):
    """The part of fluxsched.core.api.Engine that only tells."""

    cdef i32 _slot(self, jobid, i32 state) except -1:
        slot = self.slot_of.get(jobid)
        if slot is None or self.jobs[<i32> slot].state != state:
            raise ValueError(f"job {jobid} {'holds no resources' if state == JOB_RUNNING else 'does not wait'}")
        return slot

    def waiting(self):
        """Ids of the waiting jobs in queue order."""
        return [self.jobs[self.queue[i]].id for i in range(self.nqueue)]

    def running_jobs(self):
        """Ids of jobs that hold resources, by expected end."""
        return [self.jobs[self.running.item[i].job].id for i in range(self.running.count)]

    def cores_by_rank(self, jobid):
        """What a job holds: [(rank, core ids, gpu ids)], idset strings, by
        ascending rank. Raises ValueError for a job that holds nothing."""
        return [(self.inventory.ranks[node], cores, gpus)
                for node, cores, gpus in self._each(self._held(self._slot(jobid, JOB_RUNNING)))]

    cdef list _held(self, i32 slot):
        """What a job holds: rows (first node, last node, core ids, gpu ids),
        ascending; a row is one node, or a run of alike nodes held alike."""
        cdef Job *j = self.jobs + slot
        cdef Entry *e
        cdef u64 *bits
        cdef i32 i, node, last
        cdef list out = []
        cdef dict texts = {}
        for i in range(j.alloc.nentries):
            e = j.alloc.entry + i
            node = e.node
            while node < e.node + e.count:
                last = min(self.inventory.run_last[node], e.node + e.count - 1)
                out.append((node, last, self.inventory.core_text[node], self.inventory.gpu_text[node]))
                node = last + 1
            if e.count == 0:
                bits = j.alloc.bits + e.bits
                # There is no rank in an R of which only pools are held.
                if count_bits(bits, self.state.cw + self.state.gw):
                    self._append(out, node, shared_text(texts, bits, self.state.cw),
                                 shared_text(texts, bits + self.state.cw, self.state.gw))
        out.sort()
        return out

    cdef list _each(self, list rows):
        """Rows as one (node, core ids, gpu ids) a node."""
        return [(node, cores, gpus) for first, last, cores, gpus in rows for node in range(first, last + 1)]

    cdef dict _emit(self, list rows, double starttime, double expiration, i64 nslots=0):
        ranks = self.inventory.ranks
        hosts = self.inventory.hosts
        properties = {}
        chosen = mask_of_runs([row[:2] for row in rows]) if self.eligible.properties else 0
        for name, mask in self.eligible.properties.items():
            # "+name" is a property that the scheduler's own instance gave.
            members = 0 if name.startswith("+") else mask & chosen
            if members:
                properties[name] = self._ranks_text(runs_of_mask(members))
        return _r.emit_runs([(ranks[first], ranks[last], hosts[first], hosts[last], cores, gpus)
                             for first, last, cores, gpus in rows], properties, starttime, expiration, nslots)

    def _ranks_text(self, runs):
        """Runs of nodes as an idset string of their ranks."""
        if self.inventory.dense:
            return _idset.encode_ranges(runs)
        return _idset.encode([self.inventory.ranks[node] for first, last in runs for node in range(first, last + 1)])

    def R(self, jobid, double starttime=0, double expiration=0):
        """The R object of a job that holds resources; times in seconds."""
        cdef i32 slot = self._slot(jobid, JOB_RUNNING), i
        cdef Job *j = self.jobs + slot
        R = self._emit(self._held(slot), starttime, expiration,
                       <i64> j.nnodes * j.nslots if j.nnodes else j.nslots)
        if j.alloc.ntakes:
            # R has no words for memory or bandwidth; adopt reads them back.
            R["scheduling"] = {"pools": [[j.alloc.take[i].pool, j.alloc.take[i].amount]
                                         for i in range(j.alloc.ntakes)]}
        return R

    def times(self, jobid):
        """(start, expected end or 0 for none) of a running job, seconds."""
        cdef Job *j = self.jobs + self._slot(jobid, JOB_RUNNING)
        return j.start / <double> USEC, 0.0 if j.end == time_never() else j.end / <double> USEC

    def allocated_ranks(self, jobid):
        """Ranks on which a job holds resources, as an idset string."""
        rows = self._held(self._slot(jobid, JOB_RUNNING))
        return self._ranks_text(runs_of_mask(mask_of_runs([row[:2] for row in rows])))

    def resource_summary(self, jobid):
        """What a job holds in short: "rank[0-1]/core[0-3]"."""
        folded = {}
        for first, last, cores, gpus in self._held(self._slot(jobid, JOB_RUNNING)):
            folded.setdefault((cores, gpus), []).append((first, last))
        parts = []
        for (cores, gpus), runs in folded.items():
            children = ",".join(name + _bracket(ids) for name, ids in (("core", cores), ("gpu", gpus)) if ids)
            if cores and gpus:
                children = "{" + children + "}"
            ranks = self._ranks_text(runs_of_mask(mask_of_runs(runs)))
            parts.append(f"rank{_bracket(ranks)}/{children}")
        return " ".join(parts)

    def tree_part(self, jobid):
        """The part of the resource tree that a job holds: rows of (name,
        type, amount, depth) in preorder."""
        cdef i32 slot = self._slot(jobid, JOB_RUNNING), i
        held = self._each(self._held(slot))
        cores = {(row[0], unit) for row in held for unit in (_idset.ids(row[1]) if row[1] else ())}
        gpus = {(row[0], unit) for row in held for unit in (_idset.ids(row[2]) if row[2] else ())}
        takes = {self.jobs[slot].alloc.take[i].pool: self.jobs[slot].alloc.take[i].amount
                 for i in range(self.jobs[slot].alloc.ntakes)}
        return self.inventory.need_tree().part(cores, gpus, takes)

    def resource_status(self):
        """R objects of all resources, of those that jobs hold, and of those
        that are down: {"all", "allocated", "down"}."""
        cdef i32 node, w, cw = self.state.cw, gw = self.state.gw
        cdef list held = [], down = [], everything = []
        cdef dict texts = {}
        cdef u64 *bits = <u64 *> zeroed(cw + gw, sizeof(u64))
        try:
            for node in range(self.inventory.nnodes):
                if not get_bit(self.state.present, node):
                    continue
                cores = self.inventory.core_text[node]
                gpus = self.inventory.gpu_text[node]
                self._append(everything, node, cores, gpus)
                if not get_bit(self.state.up, node):
                    self._append(down, node, cores, gpus)
                for w in range(cw):
                    bits[w] = self.inventory.core_all[node * cw + w] & ~self.state.core_free[node * cw + w]
                for w in range(gw):
                    bits[cw + w] = self.inventory.gpu_all[node * gw + w] & ~self.state.gpu_free[node * gw + w]
                cores = shared_text(texts, bits, cw)
                gpus = shared_text(texts, bits + cw, gw)
                if cores or gpus:
                    self._append(held, node, cores, gpus)
        finally:
            free(bits)
        return {"all": self._emit(everything, 0, self.expiration), "allocated": self._emit(held, 0, 0),
                "down": self._emit(down, 0, 0)}

    cdef int _append(self, list rows, i32 node, cores, gpus) except -1:
        """Add a node to rows as of _held, to the last one if it is alike."""
        if rows:
            first, last, last_cores, last_gpus = rows[-1]
            if last == node - 1 and self.inventory.run_last[<i32> first] >= node and (last_cores, last_gpus) == (
                    cores, gpus):
                rows[-1] = (first, node, cores, gpus)
                return 0
        rows.append((node, node, cores, gpus))
        return 0

    def stats(self):
        """Counters since the engine was made, and what there is now."""
        return {
            "plugin": self.policy.name,
            "plugin_options": dict(self.policy.options),
            "passes": self.npasses,
            "considered": self.nconsidered,
            "started": self.nstarted_total,
            "backfilled": self.nbackfilled,
            "waiting": self.nqueue,
            "running": self.running.count,
            "queues": list(self.domain_names),
            "nodes": {"all": count_bits(self.state.present, self.state.nwords), "up": self.state.nup,
                      "idle": self.state.nidle},
            "cores": {"up": self.state.up_cores, "free": self.state.free_cores},
        }

// Package confine holds a process and what it starts to limits and to a part of the file system, by
// the best means that the machine offers, and says which those are.
//
//	Look ──▶ Machine      what is there: a delegated cgroup, Landlock, network namespaces
//	            │
//	            ├─ Report(want) ──▶ in force: "memory 512MiB (cgroup)", not in force: "cpu 1.5 (…)"
//	            │
//	            └─ Cell(want) ──▶ Dress(cmd): born in a cgroup, in a network of its own
//	                 │                  └─▶ Run: this program, for a moment: rlimits, Landlock,
//	                 │                           no new privileges, then execve(2) to the child's;
//	                 │                           or bwrap(1), where the configuration asks for that
//	                 ├─ Kill     what has left the process group too, where there is a cgroup
//	                 ├─ Verdict  "out of memory at 512MiB"
//	                 └─ Close    nothing is left
//
// Nothing is promised that was not tried: Report tells of means that Look found to work, and where
// one of them fails for a child after all, that child does not start.
//
// The package starts no process and watches none. Where there is no cgroup, whoever owns the
// processes has to look at their memory and number (Watched).
package confine

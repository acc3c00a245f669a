// Large pages for all that a program allocates.
//
// The engine looks here and there into hundreds of megabytes. In pages of 4 KiB nearly each such look asks
// the page table first, which lies in no cache either; in pages of 2 MiB it does not (docs/performance.md
// says what that is worth). glibc asks the kernel for large pages where GLIBC_TUNABLES says so at the start
// of a program, and at no other time; heaps of their own, which it gives to threads, grow in steps too small
// for any.
#pragma once

namespace ocicat {

// Begins this program again from its start, with large pages and one heap for all threads: the same process,
// arguments, environment and open files. Returns where that has been done already, or where the environment
// tells malloc otherwise about large pages; and where it cannot be done (no /proc, say): then everything
// works alike, and slower.
//
// Call before there are threads, or anything to lose. Programs that this one starts inherit nothing of it.
// source: glibc manual, "Memory Allocation Tunables"; the kernel's admin-guide/mm/transhuge
void use_large_pages();

}  // namespace ocicat

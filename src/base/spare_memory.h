// Memory that a program needed to start, given back.
#pragma once

namespace ocicat {

// Gives the kernel what has been freed, and lets go of pages of this program and its libraries: those that run again
// are found again, in the kernel's cache of files. Takes milliseconds, more where much has been freed; other threads
// that allocate wait.
void give_back_spare_memory();

}  // namespace ocicat

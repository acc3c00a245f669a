// What a thread does, as `top -H` and debuggers show it.
#pragma once

#include <sys/prctl.h>

namespace ocicat {

// Of the calling thread; the kernel keeps 15 bytes.
inline void name_thread(const char* name) {
  ::prctl(PR_SET_NAME, name);
}

}  // namespace ocicat

// What of this process's memory is of files and of the kernel's maps.
#pragma once

#include <fstream>
#include <string>

#include "base/result.h"

namespace ocicat::kernel::bpf {

// Kilobytes.
inline long resident_of_files() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (word != "RssFile:") CHECK(status >> word);
  long kilobytes = 0;
  CHECK(status >> kilobytes);
  return kilobytes;
}

}  // namespace ocicat::kernel::bpf

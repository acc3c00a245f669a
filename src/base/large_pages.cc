#include "base/large_pages.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/command.h"

namespace ocicat {

namespace {

constexpr const char* kVariable = "GLIBC_TUNABLES";
constexpr std::string_view kLargePages = "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1";

std::vector<std::string> own_arguments() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> arguments;
  for (std::string word; std::getline(file, word, '\0');) arguments.push_back(word);
  return arguments;
}

}  // namespace

void use_large_pages() {
  const char* const set = std::getenv(kVariable);
  std::string tunables = set == nullptr ? "" : set;
  if (tunables.ends_with(kLargePages)) {  // this is the second start
    tunables.resize(tunables.size() - kLargePages.size());
    if (tunables.empty()) {
      ::unsetenv(kVariable);
    } else {
      tunables.pop_back();  // the colon
      ::setenv(kVariable, tunables.c_str(), 1);
    }
    return;
  }
  if (tunables.contains("glibc.malloc.hugetlb")) return;
  std::error_code failed;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", failed);
  const auto arguments = own_arguments();
  if (failed || arguments.empty()) return;
  const auto with = tunables.empty() ? std::string(kLargePages) : tunables + ':' + std::string(kLargePages);
  ::setenv(kVariable, with.c_str(), 1);
  ::execv(program.c_str(), argv_of(arguments).data());
  // Still here: as it was.
  if (set == nullptr) {
    ::unsetenv(kVariable);
  } else {
    ::setenv(kVariable, tunables.c_str(), 1);
  }
}

}  // namespace ocicat

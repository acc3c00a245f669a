#include "cni/places.h"

#include <system_error>

namespace ocicat::cni {

std::filesystem::path memory_of(const std::filesystem::path& folder) {
  std::error_code failed;
  auto whole = std::filesystem::weakly_canonical(folder, failed);
  if (failed) whole = std::filesystem::absolute(folder, failed).lexically_normal();
  return std::filesystem::path(kMemory) / whole.relative_path();
}

}  // namespace ocicat::cni

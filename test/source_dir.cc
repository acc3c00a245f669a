#include "test/source_dir.h"

namespace ocicat::test {

std::filesystem::path source_dir() {
  return OCICAT_SOURCE_DIR;
}

}  // namespace ocicat::test

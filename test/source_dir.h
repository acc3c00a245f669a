// Where this checkout is, for tests that read files of it.
#pragma once

#include <filesystem>

namespace ocicat::test {

std::filesystem::path source_dir();

}  // namespace ocicat::test

// Whether the running kernel takes our programs, found by trying.
#pragma once

#include <filesystem>

#include "base/result.h"
#include "kernel/bpf_abilities.h"

namespace ocicat::dataplane::ebpf {

// Programs of this build that are pinned in the folder have been taken already. Else they are loaded, with
// small maps, and let go. kUnsupported and others: why not.
Result<void> try_programs(const std::filesystem::path& folder, const kernel::bpf::Abilities& can);

}  // namespace ocicat::dataplane::ebpf

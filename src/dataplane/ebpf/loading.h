// Whether the running kernel takes our programs, found by loading them.
#pragma once

#include <filesystem>
#include <memory>

#include "base/result.h"
#include "dataplane/ebpf/objects.h"
#include "kernel/bpf_abilities.h"

namespace ocicat::dataplane::ebpf {

// What has been loaded, or adopted, is the datapath's to go on with, so that it is loaded once; nothing is
// attached or pinned, but the folder for pins is there. Of what the kernel can, no more than `usable` is
// used. kUnsupported and others: why not.
Result<std::shared_ptr<Objects>> load_objects(const std::filesystem::path& folder,
                                              const kernel::bpf::Abilities& usable);

}  // namespace ocicat::dataplane::ebpf

#include "dataplane/ebpf/objects.h"

asm(".pushsection .rodata\n"
    ".balign 16\n"
    "ocicat_workload_object:\n"
    ".incbin \"" OCICAT_WORKLOAD_OBJECT
    "\"\n"
    "ocicat_workload_object_end:\n"
    ".popsection\n");

extern "C" {
extern const std::uint8_t ocicat_workload_object[] __attribute__((visibility("hidden")));
extern const std::uint8_t ocicat_workload_object_end[] __attribute__((visibility("hidden")));
}

namespace ocicat::dataplane::ebpf {

std::span<const std::uint8_t> workload_object() {
  return {ocicat_workload_object, ocicat_workload_object_end};
}

}  // namespace ocicat::dataplane::ebpf

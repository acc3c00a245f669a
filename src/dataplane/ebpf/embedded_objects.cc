#include "dataplane/ebpf/objects.h"

#define EMBED(name, file)                                                                       \
  asm(".pushsection .rodata\n"                                                                  \
      ".balign 16\n"                                                                            \
      "ocicat_" #name                                                                           \
      "_object:\n"                                                                              \
      ".incbin \"" file                                                                         \
      "\"\n"                                                                                    \
      "ocicat_" #name                                                                           \
      "_object_end:\n"                                                                          \
      ".popsection\n");                                                                         \
  extern "C" {                                                                                  \
  extern const std::uint8_t ocicat_##name##_object[] __attribute__((visibility("hidden")));     \
  extern const std::uint8_t ocicat_##name##_object_end[] __attribute__((visibility("hidden"))); \
  }

EMBED(datapath, OCICAT_DATAPATH_OBJECT)
EMBED(host, OCICAT_HOST_OBJECT)
EMBED(driver, OCICAT_DRIVER_OBJECT)

namespace ocicat::dataplane::ebpf {

std::span<const std::uint8_t> datapath_object() {
  return {ocicat_datapath_object, ocicat_datapath_object_end};
}

std::span<const std::uint8_t> driver_object() {
  return {ocicat_driver_object, ocicat_driver_object_end};
}

std::span<const std::uint8_t> host_object() {
  return {ocicat_host_object, ocicat_host_object_end};
}

}  // namespace ocicat::dataplane::ebpf

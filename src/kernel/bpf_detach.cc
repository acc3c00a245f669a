#include "kernel/bpf_detach.h"

#include <bpf/bpf.h>

namespace ocicat::kernel::bpf {

Result<void> detach(int link) {
  if (const int error = ::bpf_link_detach(link); error != 0) return fail_errno("detach a program", -error);
  return {};
}

}  // namespace ocicat::kernel::bpf

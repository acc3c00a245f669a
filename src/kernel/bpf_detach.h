// Takes an eBPF program away from where it is attached.
#pragma once

#include "base/result.h"

namespace ocicat::kernel::bpf {

// By its link, whoever else holds that; when this returns, no packet is with the program any more. (Closing
// the last file of a link does the same a moment later.)
Result<void> detach(int link);

}  // namespace ocicat::kernel::bpf

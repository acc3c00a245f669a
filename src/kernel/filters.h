// Programs at interfaces by traffic control's filters (clsact), as kernels without tcx have them. Unlike
// links they need no file to stay: they are there for as long as the interface is.
//
//   ours     the filter of kind bpf with our name, at one fixed priority and handle
//   source   linux/pkt_cls.h (TCA_BPF_*), linux/pkt_sched.h (TC_H_CLSACT); tc-bpf(8)
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "kernel/bpf.h"
#include "kernel/netlink.h"

namespace ocicat::kernel {

class Filters {
 public:
  // In the network namespace of the calling thread.
  static Result<Filters> open();
  explicit Filters(NetlinkSocket socket) : socket_(std::move(socket)) {}

  // The id of the program of ours there; 0: there is none, or no such interface.
  Result<std::uint32_t> program(int interface, bpf::Hook hook);
  // Adds, or replaces at once. kNotFound: there is no such interface.
  Result<void> put(int interface, bpf::Hook hook, int program);
  // One that is not there is no error.
  Result<void> remove(int interface, bpf::Hook hook);

 private:
  Result<void> change(const MessageBuilder& builder, const std::string& what, std::vector<int> harmless);

  NetlinkSocket socket_;
};

// Of an interface with such hooks: whether others use them. Where nobody has a filter yet, they are others'.
Result<bool> are_others_hooks(NetlinkSocket& socket, int interface);

}  // namespace ocicat::kernel

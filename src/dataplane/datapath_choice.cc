#include "dataplane/datapath_choice.h"

#include "dataplane/ebpf/trial.h"
#include "kernel/translators.h"

namespace ocicat::dataplane {

Choice choose(const Circumstances& circumstances) {
  const auto& [kernel_cannot, at_host, has_host_endpoints, translator] = circumstances;
  if (!kernel_cannot.empty()) return {Datapath::kNftables, "the kernel cannot run eBPF: " + kernel_cannot};
  if (has_host_endpoints && !at_host) {
    return {Datapath::kNftables,
            "it has host endpoints, and the kernel takes no programs at netfilter hooks (needs Linux 6.6)"};
  }
  if (!translator.empty()) {
    return {Datapath::kNftables, "somebody else translates destinations (" + translator +
                                     "), behind which eBPF would not judge what workloads send"};
  }
  return {Datapath::kEbpf, "the kernel can, and nothing speaks against it"};
}

Result<void> look_again(Circumstances& circumstances) {
  TRY(const auto translators, kernel::destination_translators());
  circumstances.translator = translators.empty() ? "" : translators.front();
  return {};
}

Result<Circumstances> look_around(const Options& options) {
  TRY(const auto can, kernel::bpf::abilities(options.usable));
  Circumstances found;
  found.at_host = can.netfilter;
  if (const auto trial = ebpf::try_programs(options.pin_folder, can); !trial)
    found.kernel_cannot = trial.error().message;
  TRY_VOID(look_again(found));
  return found;
}

}  // namespace ocicat::dataplane

#include "dataplane/datapath_choice.h"

#include "dataplane/ebpf/loading.h"
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

Result<Choice> decide(Options& options) {
  TRY(const auto can, kernel::bpf::abilities(options.usable));
  if (!options.chosen_by) {
    options.chosen_by = Circumstances{.at_host = can.netfilter};
    TRY_VOID(look_again(*options.chosen_by));
  }
  auto choice = choose(*options.chosen_by);
  if (choice.datapath == Datapath::kEbpf) {
    auto loaded = ebpf::load_objects(options.pin_folder, can);
    if (loaded) {
      options.objects = std::move(*loaded);
    } else {
      options.chosen_by->kernel_cannot = loaded.error().message;
      choice = choose(*options.chosen_by);
    }
  }
  options.datapath = choice.datapath;
  return choice;
}

}  // namespace ocicat::dataplane

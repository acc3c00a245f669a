#include "dataplane/datapath_choice.h"

#include "dataplane/ebpf/loading.h"
#include "kernel/translators.h"

namespace ocicat::dataplane {
namespace {

std::string translated_by(const std::string& translator) {
  return "somebody else translates destinations (" + translator + ")";
}

}  // namespace

Choice choose(const Circumstances& circumstances) {
  const auto& [kernel_cannot, may_pass, at_host, has_host_endpoints, translator, unseen] = circumstances;
  if (!kernel_cannot.empty() && may_pass)
    return {Datapath::kNftables, "eBPF could not be loaded, and is tried again: " + kernel_cannot};
  if (!kernel_cannot.empty()) return {Datapath::kNftables, "the kernel cannot run eBPF: " + kernel_cannot};
  if (has_host_endpoints && !at_host) {
    return {Datapath::kNftables,
            "it has host endpoints, and the kernel has no place for their programs: it takes none at "
            "netfilter hooks "
            "(needs Linux 6.6), and its rules ask none (modules nft_compat and xt_bpf)"};
  }
  if (!translator.empty()) {
    return {Datapath::kNftables,
            translated_by(translator) + ", behind which eBPF would not judge what workloads send"};
  }
  if (!unseen.empty())
    return {Datapath::kNftables,
            "whether somebody else translates destinations cannot be seen yet: " + unseen};
  return {Datapath::kEbpf, "the kernel can, and nothing speaks against it"};
}

Result<void> look_again(const Options& options, Circumstances& circumstances) {
  TRY(const auto translators, kernel::destination_translators(options.nat_table()));
  circumstances.translator = translators.empty() ? "" : translators.front();
  circumstances.unseen.clear();
  return {};
}

void hear(const Options& options, kernel::MessageView message, Circumstances& circumstances) {
  if (!circumstances.translator.empty()) return;
  auto table = kernel::translating_table(message);
  if (table && *table != kernel::nftables_translator(options.nat_table()))
    circumstances.translator = *std::move(table);
}

std::string warning(const Circumstances& circumstances) {
  if (circumstances.translator.empty()) return {};
  return translated_by(circumstances.translator) +
         ", behind which eBPF does not judge what workloads send: --dataplane auto would choose nftables "
         "here";
}

namespace {

// Verifiers say much.
std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

void look_at_kernel(const Options& options, Circumstances& circumstances) {
  const auto can = kernel::bpf::abilities(options.usable);
  circumstances.at_host = can && (can->netfilter || can->asking);
  circumstances.kernel_cannot = can ? "" : first_line(can.error().message);
}

}  // namespace

Choice decide(Options& options) {
  if (!options.chosen_by) {
    options.chosen_by.emplace();
    look_at_kernel(options, *options.chosen_by);
    if (const auto seen = look_again(options, *options.chosen_by); !seen)
      options.chosen_by->unseen = first_line(seen.error().message);
  }
  auto choice = choose(*options.chosen_by);
  if (choice.datapath == Datapath::kEbpf) {
    auto loaded = ebpf::load_objects(options.pin_folder, options.usable);
    if (loaded) {
      options.objects = std::move(*loaded);
    } else {
      options.chosen_by->kernel_cannot = first_line(loaded.error().message);
      options.chosen_by->may_pass =
          loaded.error().code == ErrorCode::kExhausted || loaded.error().code == ErrorCode::kUnavailable;
      choice = choose(*options.chosen_by);
    }
  }
  options.datapath = choice.datapath;
  return choice;
}

}  // namespace ocicat::dataplane

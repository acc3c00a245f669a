#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <memory>

#include "cli/bpf_show.h"
#include "cli/commands.h"
#include "cli/run.h"
#include "lab/layout.h"
#include "lab/state.h"

namespace ocicat::cli {
namespace {

using dataplane::ebpf::PinnedMaps;

constexpr const char* kOwnFolder = "/sys/fs/bpf/ocicat";

// Of the host that is meant: a folder that was named, a lab's host, or this machine.
Result<std::filesystem::path> folder_of(const BpfOptions& options) {
  if (!options.folder.empty()) return options.folder;
  std::error_code ignored;
  const bool names_lab =
      !options.lab.empty() || !options.host.empty() || std::getenv("OCICAT_LAB") != nullptr;
  if (!names_lab && (std::filesystem::exists(kOwnFolder, ignored) || lab::Layout::existing().empty()))
    return kOwnFolder;
  TRY(const auto layout, lab::Layout::named(options.lab));
  TRY(const auto lab, lab::read_lab(layout));
  const auto hosts = lab.host_names();
  if (options.host.empty() && hosts.size() != 1) {
    return fail(ErrorCode::kInvalid, "lab {} has hosts {}: say which with --host", layout.name(),
                fmt::join(hosts, ", "));
  }
  if (!options.host.empty()) TRY_VOID(lab.check_host(options.host));
  return layout.bpf_folder(options.host.empty() ? hosts.front() : options.host);
}

using Show = Result<int> (*)(const PinnedMaps&, const BpfOptions&);

Result<int> run_bpf(const BpfOptions& options, Show show) {
  TRY(const auto folder, folder_of(options));
  TRY(const auto maps, PinnedMaps::open(folder));
  return show(maps, options);
}

struct What {
  const char* name;
  const char* about;
  Show show;
  bool address, endpoint, program;
  const char* footer;
};

constexpr What kWhat[] = {
    {"counters", "What became of packets, since the maps were made", show_counters, false, false, false,
     "Examples:\n  ocicat bpf counters\n  ocicat bpf counters --host host1 -o json"},
    {"connections", "Connections that are known, and who judged them", show_connections, true, true, false,
     R"(Those at workloads, then those that passed host endpoints. The source began the connection. An end that is a
workload here has its slot, one outside the interface by which its packets come once that is known ("way").

Examples:
  ocicat bpf connections --address 10.65.0.2
  ocicat bpf connections --endpoint 7 --most 100000 -o json)"},
    {"holders", "For whom the places of connections are taken", show_holders, true, true, false,
     R"(Who has most comes first; of addresses, which are those that began connections, as they are counted now. Places of
connections that are over count until others take them. Who has more than 4,096 ("many") takes no place of a connection that is
answered but his own, and of those who have more still: what finds none is dropped, and counted as no-room.

Examples:
  ocicat bpf holders --most 20
  ocicat bpf holders --address 192.0.2.7)"},
    {"endpoints", "Addresses of workloads here, and their programs", show_endpoints, true, true, false,
     "Examples:\n  ocicat bpf endpoints\n  ocicat bpf endpoints --address 10.65.0.2"},
    {"host-endpoints", "Host endpoints, their interfaces and chains", show_host_endpoints, false, true, false,
     "Examples:\n  ocicat bpf host-endpoints"},
    {"programs", "Programs and chains: base table and vocabulary", show_programs, false, true, true,
     "Examples:\n  ocicat bpf programs\n  ocicat bpf programs --endpoint 7"},
    {"tables", "Decision tables that programs lead to, row by row", show_tables, false, true, true,
     R"(Each table once, under the first program that leads to it: a program's base table, then those by the projection of
the peer's class. A row answers for the packets of its keys.

Examples:
  ocicat bpf tables --program 3
  ocicat bpf tables --endpoint 7 -o json)"},
    {"classes", "Classes of addresses and nets", show_classes, true, false, false,
     "With an address: which class it has, and why.\n\nExamples:\n  ocicat bpf classes\n  ocicat bpf classes "
     "--address "
     "192.0.2.7"},
    {"floating", "Floating addresses and the own ones of workloads here", show_floating, true, false, false,
     "The kernel translates, by a table that says the same: nft list table inet ocicat_nat.\n\n"
     "Examples:\n  ocicat bpf floating\n  ocicat bpf floating --address 172.16.0.5"},
};

constexpr std::string_view kBpfFooter =
    R"(Reads what the agent of this host has pinned, or of a lab's host, as it is in the kernel at this moment: an agent that
is dead or behind changes nothing about that. It needs root, and the ocicat that the agent was started from. The words
are those of docs/design/ebpf.md.

Examples:
  ocicat bpf counters
  ocicat bpf connections --address 10.65.0.2
  ocicat bpf tables --endpoint 7
  ocicat bpf endpoints --lab default --host host1 -o json)";

}  // namespace

void add_bpf_command(CLI::App& app) {
  auto* group = app.add_subcommand("bpf", "Show what the eBPF datapath of a host has in the kernel");
  group->require_subcommand(1);
  group->footer(std::string(kBpfFooter));
  const auto one_or_more = CLI::Validator(CLI::PositiveNumber).description("");  // 0 is nobody's number
  for (const auto& what : kWhat) {
    auto* command = group->add_subcommand(what.name, what.about);
    auto options = std::make_shared<BpfOptions>();
    if (what.address)
      command->add_option("--address", options->address, "Only what concerns this address")
          ->type_name("ADDRESS");
    if (what.endpoint)
      command->add_option("--endpoint", options->slot, "Only of the endpoint with this number")
          ->check(one_or_more)
          ->type_name("SLOT");
    if (what.program)
      command->add_option("--program", options->program, "Only of this program")
          ->check(one_or_more)
          ->type_name("ID");
    command->add_option("--most", options->most, "Show at most so many")
        ->check(one_or_more)
        ->type_name("N")
        ->capture_default_str();
    command->add_option("--host", options->host, "Of this host of a lab")->type_name("HOST");
    command->add_option("--lab", options->lab, "Of a host of this lab (default: $OCICAT_LAB)")
        ->type_name("LAB");
    command->add_option("--bpf-folder", options->folder, "Of the agent with this folder")->type_name("DIR");
    command->add_option("-o,--output", options->output, "Output: json or yaml")
        ->check(CLI::IsMember({"json", "yaml"}));
    command->footer(what.footer);
    command->callback([options, show = what.show] { finish(run_bpf(*options, show)); });
  }
}

}  // namespace ocicat::cli

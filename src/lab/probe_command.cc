#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json.hpp>
#include <memory>

#include "lab/command_parts.h"
#include "lab/probe.h"

namespace ocicat::lab {
namespace {

struct ProbeCommand {
  std::string name;
  std::string ports;
  std::string family;
  std::string output;
  std::vector<std::string> pods;
  int patience = 500;
};

Result<std::vector<ProbeEnd>> ends_of(const Lab& lab, const std::vector<std::string>& wanted) {
  TRY([[maybe_unused]] const auto record, read_lab(lab.layout()));
  std::vector<ProbeEnd> ends;
  for (const auto& pod : read_pods(lab.layout())) {
    if (!wanted.empty() && std::ranges::find(wanted, pod.full_name()) == wanted.end()) continue;
    ends.push_back({.name = pod.full_name(),
                    .network_namespace = lab.layout().pod_namespace(pod.ns, pod.name),
                    .addresses = pod.addresses,
                    .listens = pod.listens});
  }
  for (const auto& name : wanted) {
    typed(split_pod_name(name));
    if (std::ranges::find(ends, name, &ProbeEnd::name) != ends.end()) continue;
    return fail(ErrorCode::kNotFound, "there is no pod {} in lab \"{}\"", name, lab.layout().name());
  }
  return ends;
}

Result<void> run_probe(const Lab& lab, const ProbeCommand& command) {
  const Stopwatch watch;
  ProbeOptions options{.patience = std::chrono::milliseconds(command.patience)};
  options.traffics = typed(views::parse_traffic_list(command.ports));
  for (const auto& traffic : options.traffics) typed(check_can_be_probed(traffic));
  if (!command.family.empty()) options.family = typed(views::parse_family(command.family));
  TRY(options.number, next_probe_number(lab.layout()));
  TRY(const auto ends, ends_of(lab, command.pods));
  TRY(const auto results, probe(ends, options));
  const auto cells = to_cells(ends, results);
  if (command.output == "json") {
    say("{}\n", boost::json::serialize(views::to_json(cells)));
  } else {
    say("{}\n{} probes with real packets in {:.0f} ms\n", views::to_text(cells), cells.size(),
        watch.milliseconds());
  }
  return {};
}

}  // namespace

void add_probe_command(CLI::App& group) {
  auto* command = group.add_subcommand("probe", "Try every pair of pods with real packets");
  auto options = std::make_shared<ProbeCommand>();
  command->add_option("--ports", options->ports, "What is sent: tcp/PORT, udp/PORT, sctp/PORT, icmp, icmpv6")
      ->required();
  command->add_option("--family", options->family, "Only this IP family: 4 or 6")
      ->check(CLI::IsMember({"4", "6"}));
  command->add_option("--pods", options->pods, "Only between these")
      ->delimiter(',')
      ->type_name("NS/NAME,...");
  command
      ->add_option("--timeout", options->patience,
                   "How long silence lasts that means denied, in milliseconds")
      ->capture_default_str()
      ->check(CLI::Range(3, 60000));
  command->add_option("-o,--output", options->output, "Output: json")->check(CLI::IsMember({"json"}));
  add_name_option(*command, options->name);
  command->footer(
      "TCP: a connection; UDP: a datagram and its echo; SCTP: INIT and INIT ACK; ICMP: echo request and "
      "reply.\n\n"
      "Examples:\n  ocicat lab probe --ports tcp/80,udp/53\n  ocicat lab probe --ports tcp/80,icmp,icmpv6 -o "
      "json");
  command->callback(
      [options] { run_in_lab(options->name, [&](Lab& lab) { return run_probe(lab, *options); }); });
}

}  // namespace ocicat::lab

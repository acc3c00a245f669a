#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/snapshot.h"
#include "views/policy_diff.h"

namespace ocicat::cli {
namespace {

// As diff and kubectl diff have it, so that a pipeline can tell a difference from a mistake.
constexpr int kDiffers = 1;
constexpr int kTrouble = 2;

struct PolicyOptions {
  FileOptions files;
  FileOptions base;
  std::string ports;
  std::string family;
  std::string server;
  std::string output;
};

std::vector<views::Probe> probes_of(const std::vector<views::Traffic>& traffics) {
  std::vector<views::Probe> probes;
  for (const views::Traffic& traffic : traffics) {
    auto& probe = probes.emplace_back(views::Probe{.traffic = traffic});
    if (traffic.has_port()) probe.ports = PortRange{traffic.port, traffic.port};
  }
  return probes;
}

Result<int> run_diff(const PolicyOptions& options) {
  std::optional<Family> family;
  if (!options.family.empty()) family = typed(views::parse_family(options.family));
  std::vector<views::Traffic> asked;
  if (!options.ports.empty()) asked = typed(views::parse_traffic_list(options.ports));
  auto base = options.base;
  base.recursive = options.files.recursive;
  TRY(const policy::Snapshot before, load_snapshot(base, options.server));
  TRY(const policy::Snapshot after, load_changed(before, options.files));
  const auto probes = asked.empty() ? views::probes_of(before, after) : probes_of(asked);
  const views::PolicyDiff diff = views::diff(before, after, probes, family);
  if (diff.one_sided > 0) {
    print_warning(fmt::format(
        "{} endpoints or hosts are only before or only after: their pairs are not compared", diff.one_sided));
  }
  if (options.output.empty()) {
    say("{}", views::to_text(diff));
  } else {
    say("{}", document_text(views::to_json(diff), *parse_format(options.output)));
  }
  return diff.changes.empty() ? kDone : kDiffers;
}

constexpr std::string_view kPolicyFooter =
    R"(What is in the files is laid over what stands at the server, or over what is in the files given with --base, and every
pair of different workload endpoints, and of hosts that have a host endpoint before or after, is looked up in the decision
tables of both. Nothing is sent. Without --ports it is asked about every port of TCP and UDP, every kind of ICMP and every
other protocol: what no policy tells apart once for all. A staged policy changes no verdict; what it would change is told
beside it.

The exit code is 0 where nothing changes, 1 where something does, 2 where it could not be told.

Examples:
  ocicat policy diff -f new.yaml
  ocicat policy diff -f policies/ --ports tcp/5432,udp/53 -o json
  ocicat policy diff --base workloads.yaml --base policies/ -f new.yaml     # no server needed)";

}  // namespace

void add_policy_command(CLI::App& app) {
  auto* policy = app.add_subcommand("policy", "Look at a change of policy before it is made");
  policy->require_subcommand(1);
  policy->footer("Examples:\n  ocicat policy diff -f new.yaml");
  auto* command = policy->add_subcommand("diff", "Show which verdicts documents would change");
  auto options = std::make_shared<PolicyOptions>();
  add_file_options(*command, options->files, true);
  command
      ->add_option("--base", options->base.paths,
                   "Compare with these files or folders instead of with what stands at the server")
      ->type_name("FILE")
      ->delimiter(',');
  command
      ->add_option(
          "--ports", options->ports,
          "What is sent, as `ocicat explain` takes it, separated by commas (default: what policies mention)")
      ->type_name("PROTO/PORT,...");
  command->add_option("--family", options->family, "Only this IP family: 4 or 6")
      ->check(CLI::IsMember({"4", "6"}));
  command->add_option("-o,--output", options->output, "Output: json or yaml")
      ->check(CLI::IsMember({"json", "yaml"}));
  add_server_option(*command, options->server);
  command->footer(std::string(kPolicyFooter));
  command->callback([options] {
    const Result<int> outcome = run_diff(*options);
    if (!outcome) print_error(outcome.error());
    finish(outcome && all_is_written() ? *outcome : kTrouble);
  });
}

}  // namespace ocicat::cli

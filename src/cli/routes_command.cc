#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/snapshot.h"
#include "dataplane/dataplane.h"
#include "kernel/routes.h"
#include "views/routes.h"

namespace ocicat::cli {
namespace {

constexpr int kProtocolOfBird = 12;  // linux/rtnetlink.h: RTPROT_BIRD

struct RoutesOptions {
  std::string address;
  std::string node;
  bool no_kernel = false;
  FileOptions files;
  std::string server;
  std::string output;
};

std::string own_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

Result<std::vector<views::KernelWay>> read_kernel() {
  TRY(const auto routes, kernel::NetlinkRoutes::open());
  TRY(const auto links, routes->links());
  std::vector<views::KernelWay> ways;
  for (const int protocol : {dataplane::Options().route_protocol, kProtocolOfBird}) {
    TRY(const auto found, routes->routes(protocol));
    for (const auto& route : found) {
      if (route.unreachable) continue;  // by which nothing arrives
      const auto link = std::ranges::find(links, route.link, &kernel::Link::index);
      ways.push_back({route.destination, link == links.end() ? "" : link->name, route.gateway,
                      protocol == kProtocolOfBird, route.blackhole, route.link == 0 && !route.blackhole});
    }
  }
  return ways;
}

Result<int> run_routes(const RoutesOptions& options) {
  std::optional<IpAddress> address;
  if (!options.address.empty()) {
    address = IpAddress::parse(options.address);
    if (!address) wrong_usage({ErrorCode::kInvalid, fmt::format("\"{}\" is no IP address", options.address)});
  }
  TRY(const policy::Snapshot snapshot, load_snapshot(options.files, options.server));
  TRY(auto lines, views::wanted_routes(snapshot, options.node.empty() ? own_name() : options.node));
  if (!options.no_kernel && options.files.paths.empty()) {
    TRY(const auto kernel, read_kernel());
    views::compare(lines, kernel);
  }
  if (address) std::erase_if(lines, [&](const auto& line) { return !line.destination.contains(*address); });
  if (options.output.empty()) {
    say("{}", views::to_text(lines));
  } else {
    say("{}", document_text(views::to_json(lines), *parse_format(options.output)));
  }
  using State = views::RouteLine::State;
  const auto is_wrong = [](const auto& line) {
    return line.state == State::kMissing || line.state == State::kOther || line.state == State::kStray;
  };
  return std::ranges::any_of(lines, is_wrong) ? kFailed : kDone;
}

constexpr std::string_view kRoutesFooter =
    R"(The ways of one host to the workloads of all: one for each block of addresses of another host, and single ones for
addresses that are in no block or elsewhere than theirs; a block of the host itself is a blackhole, beside which its
workloads have their own. For whom each is, and how the kernel of the machine (and network namespace) that this runs on
has it:

  ready     as it should be; BY says where a tunnel or BGP leads; VIA "several": by several gateways (ECMP)
  missing   it should be there, and is not
  other     it is there, and leads elsewhere
  stray     it is there with our mark, and nobody wants it
  waiting   there is no way yet, and why; what is to travel in a tunnel is dropped meanwhile

Run it on the host itself, or with --no-kernel for what is wanted anywhere. The exit code is 1 where a route is missing,
other or stray.

Examples:
  ocicat routes
  ocicat routes 10.65.0.7
  ocicat routes --node host2 --no-kernel -o json
  ocicat lab host exec host1 -- ocicat routes --node host1)";

}  // namespace

void add_routes_command(CLI::App& app) {
  auto* command =
      app.add_subcommand("routes", "Show a host's ways to workloads, and how its kernel has them");
  auto options = std::make_shared<RoutesOptions>();
  command->add_option("ADDRESS", options->address, "Only what leads to this address");
  command->add_option("--node", options->node, "Whose (default: this machine's name)");
  command->add_flag("--no-kernel", options->no_kernel, "Only what is wanted; do not look at this machine");
  add_file_options(*command, options->files, false);
  command->add_option("-o,--output", options->output, "Output: json or yaml")
      ->check(CLI::IsMember({"json", "yaml"}));
  add_server_option(*command, options->server);
  command->footer(std::string(kRoutesFooter));
  command->callback([options] { finish(run_routes(*options)); });
}

}  // namespace ocicat::cli

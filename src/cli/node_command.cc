#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/run.h"
#include "views/node_status.h"

namespace ocicat::cli {
namespace {

namespace json = boost::json;

struct NodeOptions {
  std::string server;
  std::vector<std::string> nodes;
  std::string output;
};

Result<int> run_node_status(const NodeOptions& options) {
  TRY(api::Client client, connect(options.server));
  TRY(const api::Listed agents, client.list(Kind::kAgentStatus, {}));
  const auto now = std::chrono::system_clock::now();
  json::array all;
  std::string text;
  std::size_t troubles = 0;
  std::vector<std::string> missing = options.nodes;
  for (const json::object& document : agents.items) {
    const auto status = views::NodeStatus::read(document);
    if (!options.nodes.empty() && std::ranges::find(options.nodes, status.agent.node) == options.nodes.end())
      continue;
    std::erase(missing, status.agent.node);
    troubles += views::bgp_troubles(status).size();
    text += (text.empty() ? "" : "\n") + views::to_text(status, now);
    all.push_back(views::to_json(status, document, now));
  }
  if (!missing.empty())
    return fail(ErrorCode::kNotFound, "no agent of {} has reported; `ocicat status` shows who has",
                missing.front());
  if (options.output.empty()) {
    say("{}", text.empty() ? "No agent has reported.\n" : text);
  } else {
    say("{}", document_text(json::object{{"nodes", std::move(all)}}, *parse_format(options.output)));
  }
  return troubles == 0 ? kDone : kFailed;
}

constexpr std::string_view kNodeFooter =
    R"(Of each host: how large packets of its workloads may be; each tunnel with its MTU, the address of its end here and, with VXLAN,
of how many other hosts the kernel knows the end; how many routes are in the kernel; what its kernel is kept from doing and why. Where its agent
keeps BIRD: its BGP sessions, how many routes came in and went out by each, and why one is
down. The exit code is 1 where a session is down, a BGPPeer is left out, the agent
cannot read what is there for BGP, or BIRD does not do what it should.

Examples:
  ocicat node status
  ocicat node status host1 -o json)";

}  // namespace

void add_node_command(CLI::App& app) {
  auto* group = app.add_subcommand("node", "Show how hosts are connected");
  group->require_subcommand(1);
  group->footer("Examples:\n  ocicat node status");
  auto* command = group->add_subcommand(
      "status", "Show tunnels, routes and BGP sessions, and the reason where one is down");
  auto options = std::make_shared<NodeOptions>();
  command->add_option("NODE", options->nodes, "Names of nodes (default: all)");
  command->add_option("-o,--output", options->output, "Output: json or yaml")
      ->check(CLI::IsMember({"json", "yaml"}));
  add_server_option(*command, options->server);
  command->footer(std::string(kNodeFooter));
  command->callback([options] { finish(run_node_status(*options)); });
}

}  // namespace ocicat::cli

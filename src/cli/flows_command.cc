#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json.hpp>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <thread>

#include "agent/agent.h"
#include "agent/flow_door.h"
#include "base/mailbox.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/run.h"
#include "flows/event.h"
#include "http/client.h"
#include "lab/layout.h"
#include "lab/state.h"
#include "views/flows.h"
#include "views/json_read.h"

namespace ocicat::cli {
namespace {

namespace json = boost::json;

struct FlowsOptions {
  bool refused_only = false;
  bool follow = false;
  std::string host;
  std::string ns;
  std::string lab;
  std::string run_dir;
  std::string output;
  std::size_t count = 0;
};

struct Door {
  std::string host;
  std::string socket;
};

// All hosts of the lab, or the one that was asked for.
Result<std::vector<Door>> doors_of_lab(const FlowsOptions& options) {
  TRY(const auto layout, lab::Layout::named(options.lab));
  TRY(const auto lab, lab::read_lab(layout));
  if (!options.host.empty()) TRY_VOID(lab.check_host(options.host));
  std::vector<Door> doors;
  for (const auto& host : lab.host_names()) {
    if (!options.host.empty() && options.host != host) continue;
    doors.push_back({host, agent::flow_socket(layout.run_folder(host)).string()});
  }
  return doors;
}

// Where this machine's agents are: the folder that was named, a lab, or the agent of a real host.
Result<std::vector<Door>> doors(const FlowsOptions& options) {
  if (!options.run_dir.empty())
    return std::vector{Door{options.host, agent::flow_socket(options.run_dir).string()}};
  const auto own = agent::flow_socket(agent::Options().run_dir);
  const bool names_lab = !options.lab.empty() || std::getenv("OCICAT_LAB") != nullptr;
  if (!names_lab && std::filesystem::exists(own)) return std::vector{Door{options.host, own.string()}};
  if (!names_lab && lab::Layout::existing().empty()) {
    return fail(ErrorCode::kUnavailable,
                "no agent answers at {}: start one with `ocicat agent`, or name its folder with --run-dir",
                own.string());
  }
  return doors_of_lab(options);
}

Error away(const Door& door, const Error& error) {
  return {ErrorCode::kUnavailable, fmt::format("{}{}the agent does not answer at {}: {}", door.host,
                                               door.host.empty() ? "" : ": ", door.socket, error.message)};
}

bool concerns(const json::object& flow, const FlowsOptions& options) {
  if (options.refused_only && views::text_at(flow, {"action"}) != "deny") return false;
  return options.ns.empty() || views::text_at(flow, {"source", "namespace"}) == options.ns ||
         views::text_at(flow, {"destination", "namespace"}) == options.ns;
}

Result<json::object> summary_of(const Door& door) {
  http::BlockingClient client(http::Endpoint::unix_socket(door.socket));
  const auto answer = client.send({"GET", "/flows", {}, {}});
  if (!answer) return std::unexpected(away(door, answer.error()));
  boost::system::error_code failed;
  const auto value = json::parse(answer->body, failed);
  if (answer->status != 200 || failed || !value.is_object())
    return fail(ErrorCode::kUnavailable, "{}: the agent answered {}: {}", door.host, answer->status,
                answer->body);
  if (!door.host.empty() && views::text_at(value.get_object(), {"host"}) != door.host) {
    return fail(ErrorCode::kNotFound, "{} is the agent of {}, not of {}: run this on {} itself", door.socket,
                views::text_at(value.get_object(), {"host"}), door.host, door.host);
  }
  return value.get_object();
}

void warn_of_lost(const std::string& host, std::uint64_t lost, std::uint64_t untold, std::uint64_t others) {
  if (lost != 0)
    print_warning(fmt::format(
        "{}: {} events were lost: there were more than could be read, or no agent to read them", host, lost));
  if (untold != 0)
    print_warning(
        fmt::format("{}: {} packets of allowed connections are in no sum: there was no room to tell of them",
                    host, untold));
  if (others != 0)
    print_warning(fmt::format("{}: {} more, of too many kinds to tell apart, are not shown", host, others));
}

Result<int> show(const std::vector<Door>& doors, const FlowsOptions& options) {
  std::vector<json::object> flows;
  json::array hosts;
  bool failed = false;
  for (const auto& door : doors) {
    auto summary = summary_of(door);
    if (!summary) {
      print_error(summary.error());
      failed = true;
      continue;
    }
    const auto host = views::text_at(*summary, {"host"});
    const auto others = views::number_at(*summary, {"others", "refused"}) +
                        (options.refused_only ? 0 : views::number_at(*summary, {"others", "flows"}));
    const auto untold = options.refused_only ? 0 : views::number_at(*summary, {"untold"});
    warn_of_lost(host, views::number_at(*summary, {"lost"}), untold, others);
    json::array kept;
    for (auto& flow : summary->at("flows").as_array()) {
      if (concerns(flow.as_object(), options)) kept.push_back(flow);
    }
    for (const auto& flow : kept) flows.push_back(flow.as_object());
    (*summary)["flows"] = std::move(kept);
    hosts.emplace_back(*std::move(summary));
  }
  if (!options.output.empty()) {
    say("{}", document_text(json::object{{"hosts", std::move(hosts)}}, *parse_format(options.output)));
  } else if (!flows.empty()) {
    say("{}", views::flow_table(flows));
  } else if (!failed) {
    say("{}\n", options.refused_only ? "Nothing was refused." : "There were no flows.");
  }
  return failed ? kFailed : kDone;
}

// What the readers of several hosts hand to the one who prints.
struct Told {
  std::vector<json::object> flows;
  std::vector<Error> errors;
  std::size_t ended = 0;

  void absorb(Told later) {
    std::ranges::move(later.flows, std::back_inserter(flows));
    std::ranges::move(later.errors, std::back_inserter(errors));
    ended += later.ended;
  }
};

void read_lines(const Door& door, const FlowsOptions& options, Mailbox<Told>& told) {
  http::Timeouts patience;
  patience.data = std::chrono::hours(24 * 365);
  http::BlockingClient client(http::Endpoint::unix_socket(door.socket), patience);
  const auto target = fmt::format("/flows?follow=1&refused={}&namespace={}", options.refused_only ? 1 : 0,
                                  http::percent_encode(options.ns));
  std::string rest;
  const auto answer = client.stream({"GET", target, {}, {}}, [&](std::string_view data) {
    rest += data;
    Told now;
    std::size_t begin = 0;
    for (auto end = rest.find('\n'); end != std::string::npos; end = rest.find('\n', begin)) {
      boost::system::error_code failed;
      auto value = json::parse(std::string_view(rest).substr(begin, end - begin), failed);
      if (!failed && value.is_object()) {
        value.get_object().emplace("host", door.host);
        now.flows.push_back(std::move(value.get_object()));
      }
      begin = end + 1;
    }
    rest.erase(0, begin);
    told.put(std::move(now));
    return !told.closed();
  });
  Told last;
  last.ended = 1;
  last.errors.push_back(
      answer ? Error{ErrorCode::kUnavailable, fmt::format("{}: the agent has ended", door.host)}
             : away(door, answer.error()));
  told.put(std::move(last));
}

void print(const json::object& flow, const FlowsOptions& options) {
  if (const auto missed = views::number_at(flow, {"missed"}); missed != 0) {
    print_warning(
        fmt::format("{}: {} flows were left out: there were more than could be written down or read",
                    views::text_at(flow, {"host"}), missed));
  } else {
    say("{}\n", options.output == "json" ? json::serialize(flow) : views::flow_line(flow));
  }
}

// Until --count flows have been told, or all agents have gone.
Result<int> follow(const std::vector<Door>& doors, const FlowsOptions& options) {
  const auto told = std::make_shared<Mailbox<Told>>();
  for (const auto& door : doors) {
    TRY([[maybe_unused]] const auto answers,
        summary_of(door));  // so that an agent that is away is told at once
  }
  for (const auto& door : doors) {
    // They end with the process: nothing else can end a read of a socket that says nothing.
    std::thread([told, door, options] { read_lines(door, options, *told); }).detach();
  }
  std::size_t printed = 0, ended = 0;
  while (ended < doors.size()) {
    const auto now = told->take_within(std::chrono::hours(1));
    if (!now) continue;
    for (const auto& flow : now->flows) {
      print(flow, options);
      if (!flow.contains("missed") && ++printed == options.count) {
        std::fflush(stdout);
        std::_Exit(all_is_written() ? kDone : kFailed);
      }
    }
    std::fflush(stdout);
    if (!all_is_written()) std::_Exit(kFailed);  // nobody reads any more
    for (const auto& error : now->errors) print_error(error);
    ended += now->ended;
  }
  return kFailed;
}

Result<int> run_flows(const FlowsOptions& options) {
  TRY(const auto where, doors(options));
  return options.follow ? follow(where, options) : show(where, options);
}

constexpr const char* kFlowsFooter =
    R"(Without --follow: what the agents have summed up in the five minutes that run and the five before, by who speaks with
whom to which port, and what policy said. Pods of one deployment are one line; addresses that nobody has are "pvt" where
they are private and "pub" where not. AT is whose end tells: at the source egress policy decides, at the destination
ingress policy. FLOWS are connections that began, PACKETS what connections have carried, both ways; -o json has bytes as
well, and says which way.

With --follow: each flow when it begins, each packet that is refused, with its addresses and what decided. Who reads more
slowly than flows come is told how many were left out; nobody is ever held up by it.

It asks the agent of this host (/run/ocicat/agent, or the folder of --run-dir); where a lab is named by --lab or
$OCICAT_LAB, or this machine has labs and no agent, the agents of its hosts. Flows of other hosts are told there.

Examples:
  ocicat flows
  ocicat flows --follow --namespace shop
  ocicat flows --lab default --host host1 -o json
  ocicat flows --follow -o json | jq -r .policies.enforced[])";

std::string drops_footer() {
  using flows::Reason;
  std::string text =
      "Like `ocicat flows`, but only what was refused, with the policy that did it or the other reason:\n";
  for (auto i = static_cast<int>(Reason::kPolicy) + 1; i <= static_cast<int>(Reason::kOther); ++i) {
    const auto reason = static_cast<Reason>(i);
    text += fmt::format("  {:<12}{}\n", to_string(reason), in_words(reason));
  }
  return text + R"(
Examples:
  ocicat drops
  ocicat drops --follow
  ocicat drops --namespace shop -o json)";
}

void add(CLI::App& app, const std::string& name, const std::string& about, const std::string& footer,
         bool refused_only) {
  auto* command = app.add_subcommand(name, about);
  auto options = std::make_shared<FlowsOptions>();
  options->refused_only = refused_only;
  command->add_flag("--follow", options->follow, "Print each as it happens");
  command->add_option("--count", options->count, "With --follow: end after so many")->type_name("N");
  command->add_option("--host", options->host, "Only of this host")->type_name("HOST");
  command->add_option("-n,--namespace", options->ns, "Only where either end is in this namespace")
      ->type_name("NS");
  command->add_option("--lab", options->lab, "Of the hosts of this lab (default: $OCICAT_LAB)")
      ->type_name("LAB");
  command->add_option("--run-dir", options->run_dir, "Of the agent with this folder")->type_name("DIR");
  command->add_option("-o,--output", options->output, "Output: json or yaml; with --follow json, a line each")
      ->check(CLI::IsMember({"json", "yaml"}));
  command->footer(footer);
  command->callback([options] {
    if (options->follow && options->output == "yaml")
      wrong_usage({ErrorCode::kInvalid, "--follow prints lines or json, not yaml"});
    finish(run_flows(*options));
  });
}

}  // namespace

void add_flows_commands(CLI::App& app) {
  add(app, "flows", "Show who speaks with whom, and what policy says of it", kFlowsFooter, false);
  add(app, "drops", "Show what is refused, and why", drops_footer(), true);
}

}  // namespace ocicat::cli

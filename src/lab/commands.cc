#include "lab/commands.h"

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <memory>

#include "lab/command_parts.h"
#include "lab/wiring.h"
#include "resources/decode.h"
#include "views/text_table.h"

namespace ocicat::lab {
namespace {

namespace json = boost::json;

constexpr int kMostHosts = 32;

struct UpOptions {
  std::string name;
  int hosts = 3;
  int racks = 1;
  std::string network = "plain";
  std::string dataplane = "auto";
};

struct StatusOptions {
  std::string name;
  std::string output;
};

Result<void> up(Lab& lab, const UpOptions& options) {
  const Stopwatch watch;
  std::error_code failed;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", failed);
  if (failed) return fail(ErrorCode::kInternal, "/proc/self/exe: {}", failed.message());
  TRY_VOID(lab.up({.hosts = options.hosts,
                   .racks = options.racks,
                   .network = options.network,
                   .dataplane = options.dataplane,
                   .program = program.string()}));
  say("lab \"{}\" is up: {} hosts, in {:.0f} ms\n", lab.layout().name(), options.hosts, watch.milliseconds());
  say("for other commands: export OCICAT_SERVER={} OCICAT_LAB={}\n", lab.server_address().text,
      lab.layout().name());
  return {};
}

Result<void> down(Lab& lab) {
  TRY(const auto something, lab.down());
  say("lab \"{}\" {}\n", lab.layout().name(), something ? "is removed" : "was not there");
  return {};
}

std::string state_of(const Lab& lab, std::string_view process) {
  const auto running = lab.running(process);
  return running ? fmt::format("running, pid {}", running->pid) : "not running";
}

json::value pid_of(const Lab& lab, std::string_view process) {
  const auto running = lab.running(process);
  return running ? json::value(running->pid) : json::value(nullptr);
}

json::array texts(const std::vector<IpAddress>& addresses) {
  json::array array;
  for (const auto& address : addresses) array.emplace_back(address.to_string());
  return array;
}

json::object status_json(const Lab& lab, const LabRecord& record) {
  json::array hosts;
  for (const auto& host : host_wirings(lab.layout(), record)) {
    hosts.push_back(json::object{{"name", host.name},
                                 {"networkNamespace", host.network_namespace},
                                 {"addresses", texts({host.ipv4, host.ipv6})},
                                 {"agentPid", pid_of(lab, "agent-" + host.name)}});
  }
  json::array pods;
  for (const auto& pod : read_pods(lab.layout())) {
    pods.push_back(json::object{{"namespace", pod.ns},
                                {"name", pod.name},
                                {"host", pod.host},
                                {"networkNamespace", lab.layout().pod_namespace(pod.ns, pod.name)},
                                {"interface", workload_interface_name(pod.ns, pod.name)},
                                {"addresses", texts(pod.addresses)},
                                {"listens", ports_text(pod.listens)}});
  }
  return {{"name", lab.layout().name()},
          {"folder", lab.layout().folder().string()},
          {"server", lab.server_address().text},
          {"serverPid", pid_of(lab, "server")},
          {"dataplane", record.dataplane},
          {"network", record.network},
          {"racks", record.racks},
          {"hosts", hosts},
          {"pods", pods}};
}

void print_status(const Lab& lab, const LabRecord& record) {
  say("lab {} in {}\nserver at {}: {}\n\n", lab.layout().name(), lab.layout().folder().string(),
      lab.server_address().text, state_of(lab, "server"));
  views::TextTable hosts{.headers = {"HOST", "NETNS", "IPV4", "IPV6", "AGENT"}, .rows = {}};
  for (const auto& host : host_wirings(lab.layout(), record)) {
    hosts.rows.push_back({host.name, host.network_namespace, host.ipv4.to_string(), host.ipv6.to_string(),
                          state_of(lab, "agent-" + host.name)});
  }
  views::TextTable pods{.headers = {"POD", "HOST", "NETNS", "ADDRESSES", "LISTENS"}, .rows = {}};
  for (const auto& pod : read_pods(lab.layout())) {
    pods.rows.push_back({pod.full_name(), pod.host, lab.layout().pod_namespace(pod.ns, pod.name),
                         addresses_text(pod), ports_text(pod.listens)});
  }
  say("{}", hosts.to_string());
  if (!pods.rows.empty()) say("\n{}", pods.to_string());
}

Result<void> status(const Lab& lab, const StatusOptions& options) {
  TRY(const auto record, read_lab(lab.layout()));
  if (options.output == "json") {
    say("{}\n", json::serialize(status_json(lab, record)));
  } else {
    print_status(lab, record);
  }
  return {};
}

void add_up(CLI::App& group) {
  auto* command = group.add_subcommand("up", "Start a lab: hosts, a server, and an agent on every host");
  auto options = std::make_shared<UpOptions>();
  command->add_option("--hosts", options->hosts, "How many hosts")
      ->capture_default_str()
      ->check(CLI::Range(1, kMostHosts));
  command->add_option("--racks", options->racks, "Into how many subnets they are divided")
      ->capture_default_str()
      ->check(CLI::Range(1, kMostHosts));
  command->add_option("--network", options->network, "How pods of different hosts reach each other")
      ->capture_default_str()
      ->check(CLI::IsMember(kNetworks));
  command->add_option("--dataplane", options->dataplane, "What enforces policy")
      ->capture_default_str()
      ->check(CLI::IsMember({"nftables", "ebpf", "auto", "none"}));
  add_name_option(*command, options->name);
  command->footer(
      "Examples:\n  ocicat lab up\n  ocicat lab up --hosts 5 --name try\n"
      "  ocicat lab up --hosts 4 --racks 2 --network vxlan-cross-subnet");
  command->callback([options] { run_in_lab(options->name, [&](Lab& lab) { return up(lab, *options); }); });
}

void add_down(CLI::App& group) {
  auto* command = group.add_subcommand("down", "Remove a lab and everything in it, also after a crash");
  auto options = std::make_shared<StatusOptions>();
  add_name_option(*command, options->name);
  command->footer(
      "Ends all processes inside the lab's network namespaces, shells included.\n\n"
      "Examples:\n  ocicat lab down\n  ocicat lab down --name try");
  command->callback([options] { run_in_lab(options->name, [](Lab& lab) { return down(lab); }); });
}

void add_status(CLI::App& group) {
  auto* command = group.add_subcommand("status", "Show a lab's hosts, processes and pods");
  auto options = std::make_shared<StatusOptions>();
  command->add_option("-o,--output", options->output, "Output: json")->check(CLI::IsMember({"json"}));
  add_name_option(*command, options->name);
  command->footer("Examples:\n  ocicat lab status\n  ocicat lab status --name try -o json");
  command->callback(
      [options] { run_in_lab(options->name, [&](Lab& lab) { return status(lab, *options); }); });
}

constexpr const char* kFooter = R"(Examples:
  ocicat lab up --hosts 3
  ocicat lab pod add shop/db --host host1 --labels app=db --listen tcp/5432
  ocicat lab pod add shop/web --host host2 --labels app=web --listen http=tcp/80,udp/53
  ocicat lab probe --ports tcp/80,tcp/5432
  ocicat lab exec shop/web -- ping -c 1 10.65.0.1
  ocicat lab down)";

}  // namespace

std::string addresses_text(const PodRecord& pod) {
  std::string text;
  for (const auto& address : pod.addresses) {
    if (!text.empty()) text += ' ';
    text += address.to_string();
  }
  return text;
}

void add_name_option(CLI::App& command, std::string& name) {
  command.add_option("--name", name, "Which lab (default: $OCICAT_LAB, else \"default\")")->type_name("LAB");
}

namespace {

[[noreturn]] void leave(const Error& error, int exit_code) {
  std::fflush(stdout);
  fmt::print(stderr, "error: {}\n", views::printable(error.message));
  throw CLI::RuntimeError(exit_code);
}

}  // namespace

void run_command(const std::function<Result<void>()>& work) {
  const auto done = work();
  if (!done) leave(done.error(), 1);
}

void wrong_usage(const Error& error) {
  leave(error, 2);
}

void run_in_lab(const std::string& name, const std::function<Result<void>(Lab&)>& work) {
  run_command([&]() -> Result<void> {
    Lab lab(typed(Layout::named(name)));
    return work(lab);
  });
}

void add_lab_commands(CLI::App& app) {
  auto* group =
      app.add_subcommand("lab", "Try it out: several hosts as network namespaces on this machine (as root)");
  group->require_subcommand(1);
  group->footer(kFooter);
  add_up(*group);
  add_down(*group);
  add_status(*group);
  add_pod_commands(*group);
  add_probe_command(*group);
  add_process_commands(*group);
}

}  // namespace ocicat::lab

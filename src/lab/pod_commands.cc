#include <CLI/CLI.hpp>
#include <memory>
#include <set>

#include "lab/command_parts.h"

namespace ocicat::lab {
namespace {

struct PodOptions {
  std::string name;  // of the lab
  std::string pod;
  std::string host;
  std::string labels;
  std::string service_account;
  std::string listen;
  std::string addresses;
  std::vector<std::string> floating;
  bool no_wait = false;
  std::vector<std::string> changes;
};

Result<IpAddress> parse_address(std::string_view text) {
  const auto address = IpAddress::parse(text);
  if (!address) return fail(ErrorCode::kInvalid, "\"{}\" is no IP address", text);
  return *address;
}

PodRequest request_of(const PodOptions& options) {
  const auto names = typed(split_pod_name(options.pod));
  PodRequest request;
  request.pod.ns = names.first;
  request.pod.name = names.second;
  request.pod.host = options.host;
  request.pod.service_account = options.service_account;
  request.pod.listens = typed(parse_ports(options.listen));
  request.labels = typed(parse_labels(options.labels));
  request.pod.addresses = typed(parse_pod_addresses(options.addresses));
  for (const auto& text : options.floating) request.pod.floating.push_back(typed(parse_address(text)));
  request.wait = !options.no_wait;
  return request;
}

Result<void> add(Lab& lab, const PodOptions& options) {
  const Stopwatch watch;
  PodRequest request = request_of(options);
  TRY(const auto pod, lab.add_pod(std::move(request)));
  say("pod {} on {}: {}, in {:.0f} ms\n", pod.full_name(), pod.host, addresses_text(pod),
      watch.milliseconds());
  return {};
}

Result<void> remove(Lab& lab, const PodOptions& options) {
  const auto names = typed(split_pod_name(options.pod));
  TRY_VOID(lab.delete_pod(names.first, names.second, !options.no_wait));
  say("pod {} deleted\n", options.pod);
  return {};
}

Result<void> move(Lab& lab, const PodOptions& options) {
  const Stopwatch watch;
  const auto names = typed(split_pod_name(options.pod));
  TRY_VOID(lab.move_pod(names.first, names.second, options.host, !options.no_wait));
  say("pod {} moved to {}, in {:.0f} ms{}\n", options.pod, options.host, watch.milliseconds(),
      options.no_wait ? "" : " until every running agent had it in the kernel");
  return {};
}

Result<void> label(Lab& lab, const PodOptions& options) {
  const Stopwatch watch;
  const auto names = typed(split_pod_name(options.pod));
  Labels set;
  std::vector<std::string> removed;
  std::set<std::string> changed;
  const auto once = [&changed](const std::string& name) {
    if (!changed.insert(name).second) {
      wrong_usage({ErrorCode::kInvalid, fmt::format("label {} is changed twice: say it once", name)});
    }
  };
  for (const auto& change : options.changes) {
    if (change.find('=') == std::string::npos && change.ends_with('-')) {
      removed.push_back(change.substr(0, change.size() - 1));
      once(removed.back());
      continue;
    }
    for (const auto& [name, value] : typed(parse_labels(change))) {
      once(name);
      set.emplace(name, value);
    }
  }
  TRY_VOID(lab.label_pod(names.first, names.second, set, removed));
  say("pod {} labelled, in {:.0f} ms until every running agent had it in the kernel\n", options.pod,
      watch.milliseconds());
  return {};
}

Result<void> label_namespace(Lab& lab, const PodOptions& options) {
  const auto labels = typed(parse_labels(options.labels));
  TRY_VOID(lab.label_namespace(options.pod, labels));
  say("namespace {} labelled\n", options.pod);
  return {};
}

using Work = Result<void> (*)(Lab&, const PodOptions&);

std::shared_ptr<PodOptions> add_command(CLI::App& group, CLI::App*& command, const char* word,
                                        const char* about, Work work) {
  command = group.add_subcommand(word, about);
  auto options = std::make_shared<PodOptions>();
  add_name_option(*command, options->name);
  command->callback(
      [options, work] { run_in_lab(options->name, [&](Lab& lab) { return work(lab, *options); }); });
  return options;
}

void add_pod_name(CLI::App& command, PodOptions& options) {
  command.add_option("NAMESPACE/NAME", options.pod, "The pod")->required();
}

void add_no_wait(CLI::App& command, PodOptions& options) {
  command.add_flag("--no-wait", options.no_wait, "Do not wait for the agents");
}

void add_pod_add(CLI::App& pod) {
  CLI::App* command = nullptr;
  auto options = add_command(pod, command, "add", "Start a pod and wait until every host knows it", add);
  add_pod_name(*command, *options);
  command->add_option("--host", options->host, "Where it runs")->required();
  command->add_option("--labels", options->labels, "KEY=VALUE,...");
  command->add_option("--service-account", options->service_account, "Created where it is missing");
  command->add_option("--listen", options->listen, "What it accepts and echoes")
      ->type_name("[NAME=]PROTO/PORT,...");
  command->add_option("--ip", options->addresses,
                      "Addresses instead of the next free ones, at most one a family");
  command->add_option("--floating-ip", options->floating, "Addresses under which it is reached besides")
      ->delimiter(',')
      ->type_name("ADDRESS,...");
  add_no_wait(*command, *options);
  command->footer(
      "Examples:\n  ocicat lab pod add shop/db --host host1 --labels app=db,tier=data --listen "
      "tcp/5432,udp/53");
}

}  // namespace

void add_pod_commands(CLI::App& group) {
  auto* pod = group.add_subcommand("pod", "Add, delete, move and label pods");
  pod->require_subcommand(1);
  pod->footer(
      "Examples:\n  ocicat lab pod add shop/db --host host1 --labels app=db --listen tcp/5432\n"
      "  ocicat lab pod move shop/db --host host2\n  ocicat lab pod delete shop/db");
  add_pod_add(*pod);

  CLI::App* command = nullptr;
  auto options = add_command(*pod, command, "delete", "Stop and remove a pod", remove);
  add_pod_name(*command, *options);
  add_no_wait(*command, *options);
  command->footer("Examples:\n  ocicat lab pod delete shop/db");

  options = add_command(*pod, command, "move",
                        "Wire a pod, with its addresses and processes, to another host", move);
  add_pod_name(*command, *options);
  command->add_option("--host", options->host, "Where to")->required();
  add_no_wait(*command, *options);
  command->footer("Examples:\n  ocicat lab pod move shop/db --host host2");

  options = add_command(*pod, command, "label", "Set (KEY=VALUE) and remove (KEY-) labels of a pod", label);
  add_pod_name(*command, *options);
  command->add_option("CHANGE", options->changes, "KEY=VALUE or KEY-")->required();
  command->footer("Examples:\n  ocicat lab pod label shop/db tier=data old-");

  options =
      add_command(group, command, "namespace", "Create a namespace or replace its labels", label_namespace);
  command->add_option("NAMESPACE", options->pod, "The namespace")->required();
  command->add_option("--labels", options->labels, "KEY=VALUE,...");
  command->footer("Examples:\n  ocicat lab namespace shop --labels team=web,env=test");
}

}  // namespace ocicat::lab

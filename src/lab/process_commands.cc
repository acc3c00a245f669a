#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <memory>

#include "base/command.h"
#include "lab/command_parts.h"
#include "lab/listener.h"
#include "lab/netns.h"

namespace ocicat::lab {
namespace {

struct ExecOptions {
  std::string name;
  std::string where;  // a pod or a host
  std::vector<std::string> command;
};

struct ProcessOptions {
  std::string name;
  std::string host;
  std::string dataplane;
  bool no_wait = false;
};

// Becomes the command; returns only where that fails.
Result<void> become(const std::string& network_namespace, const std::vector<std::string>& command) {
  TRY_VOID(enter_namespace(network_namespace));
  execvp(command[0].c_str(), argv_of(command).data());
  return fail_errno(command[0], errno);
}

Result<void> exec_in_pod(const Lab& lab, const ExecOptions& options) {
  const auto names = typed(split_pod_name(options.where));
  TRY(const auto pod, read_pod(lab.layout(), names.first, names.second));
  return become(lab.layout().pod_namespace(pod.ns, pod.name), options.command);
}

Result<void> exec_on_host(const Lab& lab, const ExecOptions& options) {
  TRY(const auto record, read_lab(lab.layout()));
  TRY_VOID(record.check_host(options.where));
  return become(lab.layout().host_namespace(options.where), options.command);
}

void add_exec(CLI::App& group, const char* word, const char* about,
              Result<void> (*work)(const Lab&, const ExecOptions&)) {
  auto* command = group.add_subcommand(word, about);
  auto options = std::make_shared<ExecOptions>();
  const bool on_host = work == exec_on_host;
  command->add_option(on_host ? "HOST" : "NAMESPACE/NAME", options->where, on_host ? "The host" : "The pod")
      ->required();
  command->add_option("COMMAND", options->command, "What to run; write -- before it")->required();
  add_name_option(*command, options->name);
  command->footer(on_host ? "Examples:\n  ocicat lab host exec host1 -- nft list table inet ocicat"
                          : "Examples:\n  ocicat lab exec shop/web -- ping -c 1 10.65.0.1");
  command->callback(
      [options, work] { run_in_lab(options->name, [&](Lab& lab) { return work(lab, *options); }); });
}

// start, stop and kill for one kind of process.
void add_life_cycle(CLI::App& group, const std::string& kind, const char* about) {
  auto* commands = group.add_subcommand(kind, about);
  commands->require_subcommand(1);
  const bool has_host = kind == "agent";
  commands->footer(fmt::format("Examples:\n  ocicat lab {0} kill{1}\n  ocicat lab {0} start{1}", kind,
                               has_host ? " host1" : ""));
  const auto process_of = [has_host](const ProcessOptions& options) {
    return has_host ? "agent-" + options.host : std::string("server");
  };
  struct Entry {
    const char* word;
    const char* about;
    int signal;  // 0: start
  };
  constexpr Entry kEntries[] = {{"start", "Start it again and wait until it has caught up", 0},
                                {"stop", "Ask it to end (SIGTERM), and wait until it has", SIGTERM},
                                {"kill", "End it without warning (SIGKILL)", SIGKILL}};
  for (const auto& entry : kEntries) {
    auto* command = commands->add_subcommand(entry.word, entry.about);
    auto options = std::make_shared<ProcessOptions>();
    if (has_host) command->add_option("HOST", options->host, "Which host's")->required();
    if (entry.signal == 0)
      command->add_flag("--no-wait", options->no_wait, "Do not wait until agents have caught up");
    if (entry.signal == 0 && has_host) {
      command->add_option("--dataplane", options->dataplane, "What enforces policy this time")
          ->check(CLI::IsMember({"auto", "ebpf", "nftables", "none"}));
    }
    add_name_option(*command, options->name);
    command->footer(
        fmt::format("Examples:\n  ocicat lab {} {}{}", kind, entry.word, has_host ? " host1" : ""));
    command->callback([options, process_of, has_host, signal = entry.signal] {
      run_in_lab(options->name, [&](Lab& lab) -> Result<void> {
        if (signal != 0) return lab.end(process_of(*options), signal);
        TRY_VOID(has_host ? lab.start_agent(options->host, options->dataplane) : lab.start_server());
        return options->no_wait ? Result<void>{} : lab.wait_until_applied();
      });
    });
  }
}

// What a pod runs; started by `pod add`, so not shown.
void add_listen(CLI::App& group) {
  struct Options {
    std::string ports;
    int ready_fd = -1;
  };
  auto* command = group.add_subcommand("listen", "Accept and echo")->group("");
  auto options = std::make_shared<Options>();
  command->add_option("--ports", options->ports, "What to listen on");
  command->add_option("--ready-fd", options->ready_fd, "Where to say that it is ready");
  command->callback([options] {
    run_command([&]() -> Result<void> {
      const auto ports = typed(parse_ports(options->ports));
      return run_listener(ports, options->ready_fd);
    });
  });
}

}  // namespace

void add_process_commands(CLI::App& group) {
  add_exec(group, "exec", "Run a command inside a pod", exec_in_pod);
  auto* host = group.add_subcommand("host", "Run commands on a host");
  host->require_subcommand(1);
  host->footer("Examples:\n  ocicat lab host exec host1 -- ip route");
  add_exec(*host, "exec", "Run a command on a host", exec_on_host);
  add_life_cycle(group, "agent", "Start, stop or kill the agent of a host");
  add_life_cycle(group, "server", "Start, stop or kill the server");
  add_listen(group);
}

}  // namespace ocicat::lab

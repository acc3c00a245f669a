#include "lab/lab.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>

#include "cni/places.h"
#include "lab/fabric.h"
#include "lab/netns.h"
#include "lab/objects.h"
#include "lab/progress.h"
#include "lab/wiring.h"

namespace ocicat::lab {
namespace {

namespace json = boost::json;

std::string agent_of(std::string_view host) {
  return fmt::format("agent-{}", host);
}

Result<void> must_be_root() {
  if (::geteuid() == 0) return {};
  return fail(ErrorCode::kPermission, "a lab is made of network namespaces: run this as root");
}

}  // namespace

Result<void> Lab::up(const LabRecord& lab) {
  TRY_VOID(must_be_root());
  if (std::filesystem::exists(layout_.folder())) {
    return fail(ErrorCode::kAlreadyExists,
                "lab \"{0}\" is there already; remove it with: ocicat lab down --name {0}", layout_.name());
  }
  auto done = begin(lab);
  if (done) return {};
  if (const auto removed = down(); !removed) return within(removed.error().message, done.error());
  return done;
}

Result<void> Lab::begin(const LabRecord& lab) {
  std::error_code failed;
  for (const auto& folder : {layout_.pods_folder(), layout_.folder() / "log", layout_.folder() / "process"}) {
    std::filesystem::create_directories(folder, failed);
    if (failed) return fail_errno(fmt::format("create {}", folder.string()), failed.value());
  }
  TRY_VOID(write_lab(layout_, lab));
  const auto hosts = host_wirings(layout_, lab);
  TRY_VOID(wire_hosts(hosts));
  if (lab.network.starts_with("ipip")) TRY_VOID(must_have_ipip(hosts.front()));
  TRY_VOID(start_server());
  api::Client client(server_address());
  for (const auto& object : pool_objects(lab)) {
    TRY([[maybe_unused]] const auto made, client.create(object));
  }
  int number = 0;
  for (const auto& host : hosts) {
    TRY([[maybe_unused]] const auto node, client.create(node_object(host.name, ++number, lab)));
  }
  for (const auto& host : hosts) TRY_VOID(start_agent(host.name));
  TRY_VOID(with_last_words(wait_until_tunnelled(client, lab, kPatience), layout_, lab));
  TRY_VOID(wait_until_applied());
  if (lab.network != "bgp") return {};
  return with_last_words(wait_until_peered(client, running_agents(), kPatience), layout_, lab);
}

Result<bool> Lab::down() {
  TRY_VOID(must_be_root());
  std::set<std::string> own;
  for (auto& name : namespaces()) {
    if (layout_.owns_namespace(name)) own.insert(std::move(name));
  }
  const bool something = !own.empty() || std::filesystem::exists(layout_.folder());
  TRY_VOID(end_processes());
  for (const auto& process : processes_in(own)) TRY_VOID(stop(process, SIGKILL, kPatience));
  for (const auto& name : own) TRY_VOID(delete_namespace(name));
  for (const auto& folder : {layout_.bpf_folder({}), cni::memory_of(layout_.folder()), layout_.folder()}) {
    std::error_code failed;
    std::filesystem::remove_all(folder, failed);
    if (failed) return fail(ErrorCode::kInternal, "remove {}: {}", folder.string(), failed.message());
  }
  return something;
}

Result<void> Lab::end_processes() {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(layout_.folder() / "process", ignored)) {
    TRY_VOID(stop(entry.path(), SIGKILL, kPatience));
  }
  return {};
}

std::optional<Process> Lab::running(std::string_view process) const {
  const auto found = recorded(layout_.process_file(process));
  return found && is_running(*found) ? found : std::nullopt;
}

Result<void> Lab::end(std::string_view process, int signal) const {
  if (!running(process))
    return fail(ErrorCode::kNotFound, "{} is not running in lab \"{}\"", process, layout_.name());
  return stop(layout_.process_file(process), signal, kPatience);
}

Result<void> Lab::start_server() {
  TRY(const auto lab, read_lab(layout_));
  if (running("server")) return fail(ErrorCode::kAlreadyExists, "the server is running already");
  Daemon daemon{.command = {lab.program, "server", "--socket", layout_.server_socket().string(), "--database",
                            layout_.database().string()},
                .network_namespace = {},
                .log = layout_.log_file("server"),
                .record = layout_.process_file("server")};
  TRY(const auto process, start(daemon));
  auto serving = lab::wait_until_serving(server_address(), kPatience);
  if (serving) return {};
  return fail(serving.error().code, "{}; process {} said: {}", serving.error().message, process.pid,
              tail(daemon.log, 5));
}

Result<void> Lab::start_agent(const std::string& host, const std::string& dataplane) {
  TRY(const auto lab, read_lab(layout_));
  TRY_VOID(lab.check_host(host));
  if (running(agent_of(host)))
    return fail(ErrorCode::kAlreadyExists, "the agent of {} is running already", host);
  std::error_code ignored;
  for (const auto& folder : {layout_.run_folder(host), layout_.cni_folder(host)})
    std::filesystem::create_directories(folder, ignored);
  Daemon daemon{
      .command = {lab.program, "agent", "--node", host, "--server", server_address().text, "--run-dir",
                  layout_.run_folder(host).string(), "--dataplane",
                  dataplane.empty() ? lab.dataplane : dataplane, "--bpf-folder",
                  layout_.bpf_folder(host).string(), "--bgp", lab.network == "bgp" ? "bird" : "none",
                  "--bgp-secrets", layout_.bgp_secrets_folder().string(), "--cni-dir",
                  layout_.cni_folder(host).string()},
      .network_namespace = layout_.host_namespace(host),
      .log = layout_.log_file(agent_of(host)),
      .record = layout_.process_file(agent_of(host))};
  TRY([[maybe_unused]] const auto process, start(daemon));
  return {};
}

std::map<std::string, int> Lab::running_agents() const {
  std::map<std::string, int> pids;
  const auto lab = read_lab(layout_);
  if (!lab) return pids;
  for (const auto& host : lab->host_names()) {
    if (const auto process = running(agent_of(host))) pids.emplace(host, process->pid);
  }
  return pids;
}

Result<void> Lab::wait_until_applied() {
  api::Client client(server_address());
  TRY(const auto lab, read_lab(layout_));
  TRY_VOID(with_last_words(lab::wait_until_applied(client, running_agents(), kPatience), layout_, lab));
  return wait_until_routed();
}

// Routers tell each other on their own: that an agent has applied something does not say that others know.
Result<void> Lab::wait_until_routed() {
  TRY(const auto lab, read_lab(layout_));
  if (lab.network != "bgp") return {};
  const auto agents = running_agents();
  const auto wanted = [&] {
    LinkByAddressByNamespace links;
    for (const auto& pod : read_pods(layout_)) {
      for (const auto& [host, pid] : agents) {
        if (host == pod.host) continue;
        for (const auto& address : pod.addresses)
          links[layout_.host_namespace(host)].emplace(address, link_name(pod.host));
      }
    }
    return links;
  };
  return lab::wait_until_routed(wanted, kPatience);
}

}  // namespace ocicat::lab

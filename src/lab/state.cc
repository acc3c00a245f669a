#include "lab/state.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cerrno>
#include <fstream>
#include <set>
#include <sstream>

#include "lab/fabric.h"

namespace ocicat::lab {
namespace {

namespace json = boost::json;

constexpr std::size_t kLongestLabel = 63;

bool is_dns_label(std::string_view text) {
  const auto is_inner = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; };
  return !text.empty() && text.size() <= kLongestLabel && text.front() != '-' && text.back() != '-' &&
         std::ranges::all_of(text, is_inner);
}

Result<json::object> read_object(const std::filesystem::path& file) {
  std::ifstream in(file);
  if (!in) return fail(ErrorCode::kNotFound, "there is no {}", file.string());
  std::stringstream text;
  text << in.rdbuf();
  boost::system::error_code failed;
  auto value = json::parse(text.str(), failed);
  if (failed || !value.is_object()) return fail(ErrorCode::kInternal, "{} is damaged", file.string());
  return std::move(value.get_object());
}

// Written aside and renamed, so that a reader never sees half of it.
Result<void> write_object(const std::filesystem::path& file, const json::object& object) {
  auto aside = file;
  aside += ".new";
  {
    std::ofstream out(aside);
    out << json::serialize(object) << '\n';
    if (!out.flush()) return fail(ErrorCode::kExhausted, "cannot write {}", aside.string());
  }
  std::error_code failed;
  std::filesystem::rename(aside, file, failed);
  if (failed) return fail(ErrorCode::kInternal, "rename {}: {}", aside.string(), failed.message());
  return {};
}

std::string text_of(const json::object& object, std::string_view field) {
  const auto* value = object.if_contains(field);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

std::vector<IpAddress> addresses_of(const json::object& object, std::string_view field) {
  std::vector<IpAddress> addresses;
  for (const auto& piece : split_list(text_of(object, field))) {
    if (const auto address = IpAddress::parse(piece)) addresses.push_back(*address);
  }
  return addresses;
}

PodRecord pod_of(const json::object& object) {
  PodRecord pod{.ns = text_of(object, "namespace"),
                .name = text_of(object, "name"),
                .host = text_of(object, "host"),
                .service_account = text_of(object, "serviceAccount"),
                .addresses = addresses_of(object, "addresses"),
                .listens = parse_ports(text_of(object, "listens")).value_or(std::vector<NamedPort>{}),
                .floating = addresses_of(object, "floating"),
                .container = text_of(object, "container")};
  return pod;
}

std::string text_of(const std::vector<IpAddress>& addresses) {
  std::vector<std::string> texts;
  texts.reserve(addresses.size());
  for (const auto& address : addresses) texts.push_back(address.to_string());
  return fmt::format("{}", fmt::join(texts, ","));
}

json::object object_of(const PodRecord& pod) {
  return {{"namespace", pod.ns},
          {"name", pod.name},
          {"host", pod.host},
          {"serviceAccount", pod.service_account},
          {"addresses", text_of(pod.addresses)},
          {"listens", ports_text(pod.listens)},
          {"floating", text_of(pod.floating)},
          {"container", pod.container}};
}

}  // namespace

std::vector<std::string> LabRecord::host_names() const {
  std::vector<std::string> names;
  for (int host = 1; host <= hosts; ++host) names.push_back(fmt::format("host{}", host));
  return names;
}

Result<void> LabRecord::check_host(std::string_view host) const {
  const auto names = host_names();
  if (std::ranges::find(names, host) != names.end()) return {};
  return fail(ErrorCode::kNotFound, "there is no host \"{}\"; the hosts are {}", host,
              fmt::join(names, ", "));
}

Result<std::pair<std::string, std::string>> split_pod_name(std::string_view text) {
  const auto slash = text.find('/');
  const auto ns = text.substr(0, slash);
  const auto name = slash == std::string_view::npos ? std::string_view() : text.substr(slash + 1);
  if (!is_dns_label(ns) || !is_dns_label(name)) {
    return fail(ErrorCode::kInvalid,
                "pod \"{}\": must be NAMESPACE/NAME, each of lower-case letters, digits and dashes", text);
  }
  return std::pair(std::string(ns), std::string(name));
}

Result<LabRecord> read_lab(const Layout& layout) {
  const auto object = read_object(layout.state_file());
  if (!object && object.error().code == ErrorCode::kNotFound) {
    return fail(ErrorCode::kNotFound, "there is no lab \"{0}\"; start it with: ocicat lab up --name {0}",
                layout.name());
  }
  if (!object) return std::unexpected(object.error());
  LabRecord lab{.network = text_of(*object, "network"),
                .dataplane = text_of(*object, "dataplane"),
                .program = text_of(*object, "program")};
  for (const auto& [name, target] : {std::pair{"hosts", &lab.hosts}, {"racks", &lab.racks}}) {
    const auto* number = object->if_contains(name);
    if (number != nullptr && number->is_int64()) *target = static_cast<int>(number->get_int64());
  }
  return lab;
}

Result<void> write_lab(const Layout& layout, const LabRecord& lab) {
  return write_object(layout.state_file(), {{"hosts", lab.hosts},
                                            {"racks", lab.racks},
                                            {"network", lab.network},
                                            {"dataplane", lab.dataplane},
                                            {"program", lab.program}});
}

std::vector<PodRecord> read_pods(const Layout& layout) {
  std::vector<PodRecord> pods;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(layout.pods_folder(), ignored)) {
    if (entry.path().extension() != ".json") continue;
    if (const auto object = read_object(entry.path())) pods.push_back(pod_of(*object));
  }
  std::ranges::sort(pods, {}, [](const PodRecord& pod) { return std::tie(pod.ns, pod.name); });
  return pods;
}

Result<PodRecord> read_pod(const Layout& layout, std::string_view ns, std::string_view name) {
  const auto object = read_object(layout.pod_file(ns, name));
  if (!object && object.error().code == ErrorCode::kNotFound) {
    TRY([[maybe_unused]] const auto lab, read_lab(layout));  // else that is what is missing
    return fail(ErrorCode::kNotFound, "there is no pod {}/{} in lab \"{}\"", ns, name, layout.name());
  }
  if (!object) return std::unexpected(object.error());
  return pod_of(*object);
}

Result<void> write_pod(const Layout& layout, const PodRecord& pod) {
  return write_object(layout.pod_file(pod.ns, pod.name), object_of(pod));
}

void remove_pod(const Layout& layout, std::string_view ns, std::string_view name) {
  std::error_code ignored;
  std::filesystem::remove(layout.pod_file(ns, name), ignored);
}

Result<UniqueFd> lock(const Layout& layout) {
  const auto file = layout.folder() / "lock";
  UniqueFd fd(open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!fd || flock(fd.get(), LOCK_EX) != 0) return fail_errno(file.string(), errno);
  return fd;
}

Result<std::uint32_t> next_probe_number(const Layout& layout) {
  TRY([[maybe_unused]] const auto lab, read_lab(layout));
  TRY(const auto held, lock(layout));
  const auto file = layout.folder() / "probes";
  std::uint32_t number = 0;
  std::ifstream(file) >> number;
  std::ofstream out(file);
  out << number + 1 << '\n';
  if (!out.flush()) return fail(ErrorCode::kExhausted, "cannot write {}", file.string());
  return number;
}

}  // namespace ocicat::lab

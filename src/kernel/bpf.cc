#include "kernel/bpf.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace ocicat::kernel::bpf {

// libbpf's own, by numbers: an enumeration of C++ cannot have a value beyond those that Debian's headers know.
int set_type(bpf_program* program, std::uint32_t type) __asm__("bpf_program__set_type");
int set_attach_type(bpf_program* program,
                    std::uint32_t type) __asm__("bpf_program__set_expected_attach_type");

namespace {

constexpr std::size_t kLogShown = 2000;  // its end, where the verifier says what it refuses
constexpr std::uint32_t kBatch = 4096;
// What Debian's headers do not know.
constexpr std::uint32_t kProgramNetfilter = 32;  // BPF_PROG_TYPE_NETFILTER
constexpr std::uint32_t kAttachNetfilter = 45;   // BPF_NETFILTER
constexpr std::uint32_t kDefragment = 1;         // BPF_F_NETFILTER_IP_DEFRAG

long system_call(int command, bpf_attr& attributes) {
  return ::syscall(SYS_bpf, command, &attributes, sizeof attributes);
}

// What libbpf has to say, the verifier's log included. It tells it to one function for the whole process.
thread_local std::string warnings;

int collect(libbpf_print_level level, const char* format, va_list arguments) {
  if (level != LIBBPF_WARN) return 0;
  std::array<char, 512> line{};
  va_list again;
  va_copy(again, arguments);
  const int size = std::vsnprintf(line.data(), line.size(), format, arguments);
  if (size >= static_cast<int>(line.size())) {
    std::string whole(static_cast<std::size_t>(size) + 1, '\0');
    std::vsnprintf(whole.data(), whole.size(), format, again);
    whole.pop_back();
    warnings += whole;
  } else if (size > 0) {
    warnings += line.data();
  }
  va_end(again);
  return size;
}

std::size_t rounded(std::size_t size) {
  return (size + 7) & ~std::size_t{7};
}

}  // namespace

Result<MapShape> shape_of(int map) {
  bpf_map_info info{};
  std::uint32_t size = sizeof info;
  if (const int error = ::bpf_obj_get_info_by_fd(map, &info, &size); error != 0)
    return fail_errno("look at a map", -error);
  return MapShape{info.type, info.key_size, info.value_size, info.max_entries, info.map_flags};
}

Result<std::unique_ptr<KernelMap>> KernelMap::of(UniqueFd map) {
  TRY(const auto shape, shape_of(map.get()));
  return std::unique_ptr<KernelMap>(new KernelMap(std::move(map), shape));
}

Result<void> KernelMap::put(Bytes key, Bytes value) {
  CHECK(key.size() == shape_.key_size && value.size() == shape_.value_size);
  const int error = ::bpf_map_update_elem(map_.get(), key.data(), value.data(), BPF_ANY);
  if (error == -E2BIG) return fail(ErrorCode::kExhausted, "the map is full ({} entries)", shape_.max_entries);
  if (error != 0) return fail_errno("write a map's element", -error);
  return {};
}

Result<void> KernelMap::remove(Bytes key) {
  CHECK(key.size() == shape_.key_size);
  const int error = ::bpf_map_delete_elem(map_.get(), key.data());
  if (error != 0 && error != -ENOENT) return fail_errno("remove a map's element", -error);
  return {};
}

Result<void> KernelMap::for_each(const std::function<void(Bytes, Bytes)>& visit) {
  std::vector<std::byte> keys(std::size_t{kBatch} * shape_.key_size),
      values(std::size_t{kBatch} * shape_.value_size);
  // A hash tells its position as the number of a bucket, a trie as a key.
  std::vector<std::byte> position(std::max<std::size_t>(shape_.key_size, 4));
  bool first = true, last = false;
  std::uint32_t room = kBatch;
  while (!last) {
    std::uint32_t count = room;
    const int error = ::bpf_map_lookup_batch(map_.get(), first ? nullptr : position.data(), position.data(),
                                             keys.data(), values.data(), &count, nullptr);
    if (error == -ENOSPC) {  // more in one bucket than there is room for
      room *= 2;
      keys.resize(std::size_t{room} * shape_.key_size);
      values.resize(std::size_t{room} * shape_.value_size);
      continue;
    }
    last = error == -ENOENT;
    if (error != 0 && !last) return fail_errno("read a map", -error);
    first = false;
    for (std::uint32_t i = 0; i < count; ++i) {
      visit(Bytes(keys).subspan(std::size_t{i} * shape_.key_size, shape_.key_size),
            Bytes(values).subspan(std::size_t{i} * shape_.value_size, shape_.value_size));
    }
  }
  return {};
}

Result<MappedArray> MappedArray::of(const UniqueFd& map) {
  TRY(const auto shape, shape_of(map.get()));
  MappedArray array;
  array.entries_ = shape.max_entries;
  const auto size = in_pages(rounded(shape.value_size) * shape.max_entries);
  TRY(array.memory_, map_memory(map.get(), 0, size, Access::kWrite));
  return array;
}

Result<GrowingArray> GrowingArray::of(const UniqueFd& map) {
  TRY(const auto shape, shape_of(map.get()));
  return of(map, {0, rounded(shape.value_size), shape.max_entries});
}

Result<GrowingArray> GrowingArray::of(const UniqueFd& map, const Part& part) {
  GrowingArray array;
  array.map_ = UniqueFd(::fcntl(map.get(), F_DUPFD_CLOEXEC, 3));
  if (!array.map_) return fail_errno("copy a descriptor", errno);
  array.element_ = part.element;
  array.entries_ = part.entries;
  array.lead_ = part.offset % page_size();
  array.first_ = part.offset - array.lead_;
  array.size_ = in_pages(array.lead_ + part.element * part.entries);
  TRY(array.memory_, addresses_alone(array.size_));
  return array;
}

// Twice as far each time, so that there are few mappings. What can fail is memory for tables of pages alone.
void GrowingArray::grow(std::size_t index) {
  constexpr std::size_t kFirst = 64 * 1024;
  CHECK(index < entries_);
  const auto wanted = std::max({kFirst, 2 * mapped_, std::bit_ceil(lead_ + (index + 1) * element_)});
  const auto until = std::min(size_, wanted);
  auto* begin = memory_.get() + mapped_;
  CHECK(::mmap(begin, until - mapped_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, map_.get(),
               static_cast<off_t>(first_ + mapped_)) == begin);
  mapped_ = until;
  reached_ = std::min(entries_, (mapped_ - lead_) / element_);
}

bool read_element(int map, std::uint32_t index, std::span<std::byte> value) {
  return ::bpf_map_lookup_elem(map, &index, value.data()) == 0;
}

Result<std::vector<std::uint64_t>> sums_of(int map) {
  TRY(const auto shape, shape_of(map));
  const int processors = ::libbpf_num_possible_cpus();
  if (processors < 0) return fail_errno("count processors", -processors);
  std::vector<std::uint64_t> sums(shape.max_entries), values(static_cast<std::size_t>(processors));
  for (std::uint32_t i = 0; i < shape.max_entries; ++i) {
    if (const int error = ::bpf_map_lookup_elem(map, &i, values.data()); error != 0)
      return fail_errno("read counters", -error);
    for (const auto value : values) sums[i] += value;
  }
  return sums;
}

namespace {

Result<UniqueFd> copy_of(int fd, const char* name) {
  CHECK(fd >= 0);
  UniqueFd own(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!own) return fail_errno(fmt::format("keep {}", name), errno);
  return own;
}

}  // namespace

std::string name_of(const bpf_map* map) {
  return ::bpf_map__name(map);
}

std::string name_of(const bpf_program* program) {
  return ::bpf_program__name(program);
}

MapShape shape_of(const bpf_map* map) {
  return {::bpf_map__type(map), ::bpf_map__key_size(map), ::bpf_map__value_size(map),
          ::bpf_map__max_entries(map), ::bpf_map__map_flags(map)};
}

Result<void> use(bpf_map* map, int fd) {
  if (const int error = ::bpf_map__reuse_fd(map, fd); error != 0)
    return fail_errno("use map " + name_of(map), -error);
  return {};
}

Result<UniqueFd> fd_of(const bpf_map* map) {
  return copy_of(::bpf_map__fd(map), ::bpf_map__name(map));
}

Result<UniqueFd> fd_of(const bpf_program* program) {
  return copy_of(::bpf_program__fd(program), ::bpf_program__name(program));
}

void Object::listen() {
  ::libbpf_set_print(collect);
}

Object::Object(std::shared_ptr<bpf_object> object) : object_(std::move(object)) {
  for (auto* program : programs()) {
    if (std::string_view(::bpf_program__section_name(program)) != "netfilter") continue;
    set_type(program, kProgramNetfilter);
    set_attach_type(program, kAttachNetfilter);
  }
}

std::vector<bpf_map*> Object::maps() const {
  std::vector<bpf_map*> all;
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object_.get()) all.push_back(map);
  return all;
}

std::vector<bpf_program*> Object::programs() const {
  std::vector<bpf_program*> all;
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object_.get()) all.push_back(program);
  return all;
}

void Object::leave_out_programs() {
  for (auto* program : programs()) ::bpf_program__set_autoload(program, false);
}

void Object::leave_out_programs_but(bpf_program* program) {
  leave_out_programs();
  ::bpf_program__set_autoload(program, true);
}

namespace {

// The verifier gives up where a signal waits for the thread (EAGAIN), such as that of a child that ends; other
// threads may take it.
class WithoutSignals {
 public:
  WithoutSignals() {
    sigset_t all;
    ::sigfillset(&all);
    CHECK(::pthread_sigmask(SIG_BLOCK, &all, &before_) == 0);
  }
  ~WithoutSignals() { CHECK(::pthread_sigmask(SIG_SETMASK, &before_, nullptr) == 0); }
  WithoutSignals(const WithoutSignals&) = delete;
  WithoutSignals& operator=(const WithoutSignals&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace

Result<void> Object::load() {
  warnings.clear();
  const WithoutSignals undisturbed;
  const int error = ::bpf_object__load(object_.get());
  if (error == 0) return {};
  std::string_view text(warnings);
  if (text.size() > kLogShown) text.remove_prefix(text.size() - kLogShown);
  return fail(fail_errno("", -error).error().code, "load eBPF programs: {}; the verifier says: …{}",
              std::strerror(-error), text);
}

Result<UniqueFd> attach(int program, int interface, Hook hook) {
  bpf_attr attributes{};
  attributes.link_create.prog_fd = static_cast<std::uint32_t>(program);
  attributes.link_create.target_fd =
      static_cast<std::uint32_t>(interface);  // the same place as target_ifindex
  attributes.link_create.attach_type = static_cast<std::uint32_t>(hook);
  UniqueFd link(static_cast<int>(system_call(BPF_LINK_CREATE, attributes)));
  if (link) return link;
  if (errno == EINVAL) {
    return fail(ErrorCode::kUnsupported, "the kernel has no tcx hooks (needs Linux 6.6)");
  }
  return fail_errno(fmt::format("attach to interface {}", interface), errno);
}

Result<UniqueFd> attach(int program, const NetfilterPlace& place) {
  constexpr std::int32_t kPriorities = 16;
  // As the kernel has it since 6.4, and Debian's headers do not.
  struct {
    std::uint32_t program, target, attach_type, flags, family, hook;
    std::int32_t priority;
    std::uint32_t netfilter_flags;
  } wanted{static_cast<std::uint32_t>(program),    0, kAttachNetfilter, 0, place.family,
           static_cast<std::uint32_t>(place.hook), 0, kDefragment};
  for (std::int32_t i = 0; i < kPriorities; ++i) {
    wanted.priority = place.priority + i;
    bpf_attr attributes{};
    std::memcpy(&attributes, &wanted, sizeof wanted);
    UniqueFd link(static_cast<int>(system_call(BPF_LINK_CREATE, attributes)));
    if (link) return link;
    if (errno == EINVAL) {
      return fail(ErrorCode::kUnsupported,
                  "the kernel takes no programs at netfilter hooks (needs Linux 6.6)");
    }
    if (errno != EBUSY) break;
  }
  return fail_errno(fmt::format("attach to netfilter hook {}", wanted.hook), errno);
}

Result<UniqueFd> attach_to_driver(int program, int interface) {
  for (const auto mode : {XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE}) {
    bpf_attr attributes{};
    attributes.link_create.prog_fd = static_cast<std::uint32_t>(program);
    attributes.link_create.target_fd = static_cast<std::uint32_t>(interface);
    attributes.link_create.attach_type = BPF_XDP;
    attributes.link_create.flags = mode;
    UniqueFd link(static_cast<int>(system_call(BPF_LINK_CREATE, attributes)));
    if (link) return link;
    if (errno == EBUSY || errno == EEXIST)
      return fail(ErrorCode::kAlreadyExists, "interface {} has another XDP program", interface);
    if (errno == ENODEV || errno == EPERM) break;  // whatever the mode
  }
  return fail_errno(fmt::format("attach to interface {}", interface), errno);
}

Result<void> detach(int link) {
  if (const int error = ::bpf_link_detach(link); error != 0) return fail_errno("detach a program", -error);
  return {};
}

Result<std::uint32_t> program_of_link(int link) {
  bpf_link_info info{};
  std::uint32_t size = sizeof info;
  if (const int error = ::bpf_obj_get_info_by_fd(link, &info, &size); error != 0)
    return fail_errno("look at a link", -error);
  return info.prog_id;
}

Result<void> replace_program(int link, int program) {
  if (const int error = ::bpf_link_update(link, program, nullptr); error != 0)
    return fail_errno("replace a program", -error);
  return {};
}

Result<LinkInfo> info_of_link(int link) {
  // Of tcx, which Debian's headers do not know: after the common part, interface and attach type.
  struct {
    bpf_link_info common;
    std::array<std::byte, 64> room;
  } info{};
  std::uint32_t size = sizeof info.common;
  if (const int error = ::bpf_obj_get_info_by_fd(link, &info.common, &size); error != 0)
    return fail_errno("look at a link", -error);
  std::array<std::uint32_t, 2> tcx{};
  std::memcpy(tcx.data(), &info.common.raw_tracepoint, sizeof tcx);
  return LinkInfo{static_cast<int>(tcx[0]), info.common.prog_id, static_cast<Hook>(tcx[1])};
}

namespace {

Result<bpf_prog_info> info_of_program(int program) {
  bpf_prog_info info{};
  std::uint32_t size = sizeof info;
  if (const int error = ::bpf_obj_get_info_by_fd(program, &info, &size); error != 0)
    return fail_errno("look at a program", -error);
  return info;
}

}  // namespace

Result<std::uint32_t> id_of_program(int program) {
  TRY(const auto info, info_of_program(program));
  return info.id;
}

Result<std::uint32_t> verified_instructions(int program) {
  TRY(const auto info, info_of_program(program));
  return info.verified_insns;
}

Result<Run> run(int program, std::span<const std::uint8_t> frame, int interface, int came_in_by, int repeat) {
  Run run;
  run.frame.resize(frame.size() + 256);
  __sk_buff context{};
  context.ifindex = static_cast<std::uint32_t>(interface);
  context.ingress_ifindex = static_cast<std::uint32_t>(came_in_by);
  bpf_test_run_opts options{};
  options.sz = sizeof options;
  options.data_in = frame.data();
  options.data_size_in = static_cast<std::uint32_t>(frame.size());
  options.data_out = run.frame.data();
  options.data_size_out = static_cast<std::uint32_t>(run.frame.size());
  options.ctx_in = &context;
  options.ctx_size_in = sizeof context;
  options.repeat = repeat;
  if (const int error = ::bpf_prog_test_run_opts(program, &options); error != 0)
    return fail_errno("run a program", -error);
  run.frame.resize(options.data_size_out);
  run.answer = static_cast<int>(options.retval);
  run.nanoseconds = options.duration;
  return run;
}

Result<std::uint32_t> run_in_driver(int program, std::span<const std::uint8_t> frame) {
  bpf_test_run_opts options{};
  options.sz = sizeof options;
  options.data_in = frame.data();
  options.data_size_in = static_cast<std::uint32_t>(frame.size());
  if (const int error = ::bpf_prog_test_run_opts(program, &options); error != 0)
    return fail_errno("run a program", -error);
  return options.retval;
}

namespace {

bool is_ipv6(std::span<const std::uint8_t> packet) {
  return !packet.empty() && packet[0] >> 4 == 6;
}

// With an Ethernet header.
std::vector<std::uint8_t> framed(std::span<const std::uint8_t> packet) {
  std::vector<std::uint8_t> frame(12);
  const bool ipv6 = is_ipv6(packet);
  frame.push_back(ipv6 ? 0x86 : 0x08);
  frame.push_back(ipv6 ? 0xdd : 0x00);
  frame.insert(frame.end(), packet.begin(), packet.end());
  return frame;
}

}  // namespace

Result<std::uint32_t> run_asked(int program, std::span<const std::uint8_t> packet) {
  TRY(const auto run, bpf::run(program, framed(packet), 0, 0));
  return static_cast<std::uint32_t>(run.answer);
}

Result<bool> run_at_netfilter(int program, std::span<const std::uint8_t> packet, NetfilterHook hook) {
  constexpr std::uint8_t kIpv4 = 2, kIpv6 = 10;  // NFPROTO_*
  struct {
    std::uint8_t hook, family;
    std::array<std::uint8_t, 6> padding;
    std::array<void*, 5> unset;
  } state{static_cast<std::uint8_t>(hook), is_ipv6(packet) ? kIpv6 : kIpv4, {}, {}};
  // What comes in has a frame around it here.
  const auto frame =
      hook == NetfilterHook::kOutput ? std::vector(packet.begin(), packet.end()) : framed(packet);
  bpf_test_run_opts options{};
  options.sz = sizeof options;
  options.data_in = frame.data();
  options.data_size_in = static_cast<std::uint32_t>(frame.size());
  options.ctx_in = &state;
  options.ctx_size_in = sizeof state;
  if (const int error = ::bpf_prog_test_run_opts(program, &options); error != 0)
    return fail_errno("run a program", -error);
  return options.retval == 1;  // NF_ACCEPT
}

Result<void> make_pin_folder(const std::filesystem::path& folder) {
  constexpr const char* kMount = "/sys/fs/bpf";
  struct statfs at{};
  if (::statfs(kMount, &at) != 0) return fail_errno(kMount, errno);
  if (at.f_type != BPF_FS_MAGIC && ::mount("bpf", kMount, "bpf", 0, "mode=0700") != 0)
    return fail_errno(fmt::format("mount {}", kMount), errno);
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  if (failed) return fail(ErrorCode::kPermission, "cannot make {}: {}", folder.string(), failed.message());
  return {};
}

Result<void> pin(int object, const std::filesystem::path& file) {
  std::error_code ignored;
  std::filesystem::remove(file, ignored);
  if (const int error = ::bpf_obj_pin(object, file.c_str()); error != 0)
    return fail_errno("pin " + file.string(), -error);
  return {};
}

Result<UniqueFd> open_pin(const std::filesystem::path& file) {
  UniqueFd fd(::bpf_obj_get(file.c_str()));
  if (fd) return fd;
  if (errno == ENOENT) return fail(ErrorCode::kNotFound, "there is no {}", file.string());
  return fail_errno("open " + file.string(), errno);
}

}  // namespace ocicat::kernel::bpf

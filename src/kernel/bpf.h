// eBPF objects of this kernel: programs, maps, links, and the files that keep them alive.
//
//   errors    the kernel's, as Error; of a program that it refuses, with the end of the verifier's log
//   source    linux/bpf.h; bpf(2); libbpf 1.1, and raw system calls where that has none (tcx)
#pragma once

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "kernel/mapped_memory.h"

struct bpf_map;
struct bpf_object;
struct bpf_program;

namespace ocicat::kernel::bpf {

using Bytes = std::span<const std::byte>;
template <class T>
Bytes bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

// A map of single elements: hash or trie.
class ElementMap {
 public:
  virtual ~ElementMap() = default;
  // Adds or replaces.
  virtual Result<void> put(Bytes key, Bytes value) = 0;
  // One that is not there is no error.
  virtual Result<void> remove(Bytes key) = 0;
  virtual Result<void> for_each(const std::function<void(Bytes key, Bytes value)>& visit) = 0;
};

struct MapShape {
  std::uint32_t type = 0, key_size = 0, value_size = 0, max_entries = 0, flags = 0;

  bool operator==(const MapShape&) const = default;
};
Result<MapShape> shape_of(int map);

class KernelMap final : public ElementMap {
 public:
  static Result<std::unique_ptr<KernelMap>> of(UniqueFd map);

  Result<void> put(Bytes key, Bytes value) override;
  Result<void> remove(Bytes key) override;
  Result<void> for_each(const std::function<void(Bytes, Bytes)>& visit) override;

 private:
  KernelMap(UniqueFd map, MapShape shape) : map_(std::move(map)), shape_(shape) {}

  UniqueFd map_;
  MapShape shape_;
};

// An array map in this process's memory: programs see what is written at once, word by word.
class MappedArray {
 public:
  static Result<MappedArray> of(const UniqueFd& map);

  template <class T>
  std::span<T> as() const {
    return {reinterpret_cast<T*>(memory_.get()), entries_};
  }

 private:
  MappedMemory memory_;
  std::size_t entries_ = 0;
};

// The same of a large one, of which only the beginning is in use: it is in this process's memory as far as anybody has
// looked. What is mapped counts as a process's memory, looked at or not.
class GrowingArray {
 public:
  // Where the elements stand in the map's values, which follow one another.
  struct Part {
    std::size_t offset = 0, element = 0;  // bytes
    std::size_t entries = 0;
  };

  static Result<GrowingArray> of(const UniqueFd& map);
  // Of elements within the map's memory, such as an array in its only value.
  static Result<GrowingArray> of(const UniqueFd& map, const Part& part);

  // Elements up to this one are there, where they stay. O(1), now and then a system call.
  void reach(std::size_t index) {
    if (index >= reached_) grow(index);
  }
  void* memory() const { return memory_.get() + lead_; }
  std::size_t size() const { return entries_; }

 private:
  void grow(std::size_t index);

  UniqueFd map_;
  MappedMemory memory_;                            // of its size, most of it out of reach
  std::size_t first_ = 0, size_ = 0, mapped_ = 0;  // bytes, in whole pages: where it begins in the map
  std::size_t lead_ = 0;                           // where elements begin in it
  std::size_t element_ = 0, entries_ = 0, reached_ = 0;
};

// Elements of an array, by their numbers: of one that grows, or of memory that is there already. Borrows it.
template <class T>
class Elements {
 public:
  explicit Elements(std::span<T> all) : data_(all.data()), size_(all.size()) {}
  // T is what its values are.
  explicit Elements(GrowingArray& array)
      : data_(static_cast<T*>(array.memory())), size_(array.size()), array_(&array) {}

  std::size_t size() const { return size_; }
  T& operator[](std::size_t index) const {
    if (array_ != nullptr) array_->reach(index);
    return data_[index];
  }
  // Within its size.
  std::span<T> part(std::size_t first, std::size_t count) const {
    if (array_ != nullptr && count > 0) array_->reach(first + count - 1);
    return {data_ + first, count};
  }

 private:
  T* data_;
  std::size_t size_;
  GrowingArray* array_ = nullptr;
};

// One value of an array as it is now; false: it has none there.
bool read_element(int map, std::uint32_t index, std::span<std::byte> value);
template <class T>
bool read_element(int map, std::uint32_t index, T& value) {
  return read_element(map, index, std::as_writable_bytes(std::span(&value, 1)));
}
// What a per-CPU array of 64-bit numbers adds up to.
Result<std::vector<std::uint64_t>> sums_of(int map);

// Of an object's maps and programs.
std::string name_of(const bpf_map* map);
std::string name_of(const bpf_program* program);
// What it is to look like.
MapShape shape_of(const bpf_map* map);
// Before the object is loaded: that map, rather than a new one.
Result<void> use(bpf_map* map, int fd);
// After it; of the caller.
Result<UniqueFd> fd_of(const bpf_map* map);
Result<UniqueFd> fd_of(const bpf_program* program);

// An object with programs, from opening to loading. Copies are of the same.
class Object {
 public:
  std::vector<bpf_map*> maps() const;
  std::vector<bpf_program*> programs() const;
  // Before load(): its maps alone, for a kernel that has no place for its programs.
  void leave_out_programs();
  // Before load(): of its programs that one alone.
  void leave_out_programs_but(bpf_program* program);
  Result<void> load();

 protected:
  explicit Object(std::shared_ptr<bpf_object> object);
  // Before an object is opened: what libbpf has to say is for errors.
  static void listen();

 private:
  std::shared_ptr<bpf_object> object_;
};

// The same, whose maps and programs are known by name: S is what bpftool makes of the object's file, with a member for each.
template <class S>
class Skeleton : public Object {
 public:
  static Result<Skeleton> open() {
    listen();
    const std::shared_ptr<S> opened(S::open(), S::destroy);
    if (opened == nullptr) return fail_errno("read an eBPF object", errno);
    return Skeleton(opened);
  }
  const S* operator->() const { return names_; }

 private:
  explicit Skeleton(const std::shared_ptr<S>& opened)
      : Object(std::shared_ptr<bpf_object>(opened, opened->obj)), names_(opened.get()) {}

  const S* names_;
};

// Programs at an interface of the calling thread's network namespace; others there have their say as well.
enum class Hook : std::uint32_t { kIngress = 46, kEgress = 47 };  // BPF_TCX_*
Result<UniqueFd> attach(int program, int interface, Hook hook);
// Another program in the place of the one that is there, at once.
Result<void> replace_program(int link, int program);

// Of a link to an interface.
struct LinkInfo {
  int interface = 0;  // 0: the interface has gone
  std::uint32_t program_id = 0;
  Hook hook{};
};
Result<LinkInfo> info_of_link(int link);
Result<std::uint32_t> id_of_program(int program);
// How many instructions the verifier went through before it took the program (Linux 5.16).
Result<std::uint32_t> verified_instructions(int program);

// One run of a program over a frame.
struct Run {
  int answer = 0;
  std::vector<std::uint8_t> frame;
  std::uint32_t nanoseconds = 0;  // on average, where repeated
};
Result<Run> run(int program, std::span<const std::uint8_t> frame, int interface, int came_in_by,
                int repeat = 1);

// Runs a program of section "xdp" over a frame, as if it came by the loopback interface of the calling
// thread's network namespace. What it answers (enum xdp_action).
Result<std::uint32_t> run_in_driver(int program, std::span<const std::uint8_t> frame);

// Programs of section "netfilter" at a hook of the calling thread's network namespace. Others at the hook
// have their say as well; no two programs may have one priority, so the first of a few from `priority` on
// that is free is taken.
enum class NetfilterHook : std::uint32_t { kInput = 1, kForward = 2, kOutput = 3 };  // NF_INET_*
struct NetfilterPlace {
  std::uint32_t family = 0;  // NFPROTO_*
  NetfilterHook hook{};
  std::int32_t priority = 0;
};
Result<UniqueFd> attach(int program, const NetfilterPlace& place);
// A program in an interface's driver, or where that takes none (EOPNOTSUPP), or not now (with so large an MTU, so
// few queues, so little memory; each has errors of its own), before everything else on the stack.
// kAlreadyExists: somebody else's is there.
Result<UniqueFd> attach_to_driver(int program, int interface);
// Of any link.
Result<std::uint32_t> program_of_link(int link);
// Takes the program away from where it is attached, whoever else holds the link; when this returns, no packet
// is with it any more. (Closing the last file of a link does the same a moment later.)
Result<void> detach(int link);

// Runs a program for that hook over a packet that begins with its IP header, as if it came and went by the
// loopback interface of the calling thread's network namespace. Whether it passes.
Result<bool> run_at_netfilter(int program, std::span<const std::uint8_t> packet, NetfilterHook hook);
// Runs a program of section "socket", as rules ask it, over such a packet, as if it came by that interface and no route
// led anywhere. What it answers.
Result<std::uint32_t> run_asked(int program, std::span<const std::uint8_t> packet);

// Files that keep objects alive. The folder's file system is mounted where it is missing.
Result<void> make_pin_folder(const std::filesystem::path& folder);
// Replaces what is there.
Result<void> pin(int object, const std::filesystem::path& file);
// kNotFound: there is none.
Result<UniqueFd> open_pin(const std::filesystem::path& file);

}  // namespace ocicat::kernel::bpf

// Hostile files: safetensors_test <folder of the hand-made ones> [mutations]
#include "core/safetensors.h"

#include <malloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iterator>
#include <new>
#include <random>

#include "check.h"

using namespace heddle;

// ---- memory in use through operator new, to see what one parse takes ----

static std::atomic<size_t> live{0}, peak{0};

void* operator new(size_t size) {
  void* block = std::malloc(size);
  if (block == nullptr) throw std::bad_alloc();
  const size_t now = live += malloc_usable_size(block);
  if (now > peak) peak = now;
  return block;
}
void operator delete(void* block) noexcept {
  if (block != nullptr) live -= malloc_usable_size(block);
  std::free(block);
}
void operator delete(void* block, size_t) noexcept { operator delete(block); }

namespace {

struct Verdict {
  const char* file;
  const char* rule;  // nullptr: accepted
  const char* names;  // must be in the message
};

constexpr Verdict kVerdicts[] = {
    {"7_bytes", "header-size", "7 bytes"},
    {"BOM", "json", "byte 0"},
    {"F4_odd", "size", "\"a\""},
    {"array", "json", "'['"},
    {"bad_dtype", "dtype", "\"I33\""},
    {"deep_nest", "json", "\"a\""},
    {"dup_key", "duplicate-name", "\"a\""},
    {"dup_key_diff", "duplicate-name", "\"a\""},
    {"elts", "offsets", "[8, 4]"},
    {"empty_file", "header-size", "0 bytes"},
    {"empty_obj", nullptr, nullptr},
    {"float", "json", "\"a\", shape"},
    {"hdr_0", "json", "the end"},
    {"hdr_len_100MBp1", "header-limit", "100000001"},
    {"hdr_len_263", "header-limit", "9223372036854775808"},
    {"hdr_len_gt_file", "header-length", "1048576"},
    {"hole", "hole", "begins at 4"},
    {"invalid_utf8", "utf-8", "byte 2"},
    {"lead_ws", nullptr, nullptr},
    {"lone_surrogate", "json", "surrogate"},
    {"meta_nonstring", "metadata", "\"x\""},
    {"meta_null", nullptr, nullptr},
    {"misaligned_start_F32", nullptr, nullptr},
    {"missing_field", "missing-field", "data_offsets"},
    {"name_1MB", "name-length", "1024"},
    {"name_path", nullptr, nullptr},
    {"neg", "json", "\"a\", shape"},
    {"nul_pad", "json", "byte value 0"},
    {"overflow", "overflow", "18446744073709551614"},
    {"overlap", "overlap", "\"b\""},
    {"rank_1000", "rank", "more than 8"},
    {"short", "offsets", "15 bytes"},
    {"trailing", "trailing-bytes", "17"},
    {"unknown_field", nullptr, nullptr},
    {"valid", nullptr, nullptr},
    {"zero_dim", nullptr, nullptr},
    {"zero_dim_overflow", "overflow", "9223372036854775808"},
};

using Bytes = std::vector<uint8_t>;

Status parse(const Bytes& bytes, SafetensorsHeader* header = nullptr, uint64_t max_header = kSafetensorsDefaultMaxHeader) {
  SafetensorsHeader own;
  return parse_safetensors(bytes.data(), bytes.size(), max_header, header != nullptr ? header : &own);
}

Bytes file_of(const std::string& json, size_t data_bytes) {
  Bytes bytes(8 + json.size() + data_bytes, 0x5A);
  for (int i = 0; i < 8; i++) bytes[i] = static_cast<uint8_t>(uint64_t{json.size()} >> (8 * i));
  std::memcpy(bytes.data() + 8, json.data(), json.size());
  return bytes;
}

std::string entry(const char* name, const char* dtype, const char* shape, uint64_t begin, uint64_t end) {
  return std::string("\"") + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(end) + "]}";
}

std::string rule_of(const Status& status) { return status.ok() ? "accepted" : status.message.substr(0, status.message.find(':')); }

std::string rule_for(const std::string& json, size_t data_bytes) { return rule_of(parse(file_of(json, data_bytes))); }

// What an accepted header promises; the rest of heddle relies on it.
void check_promises(const Bytes& bytes, const SafetensorsHeader& header) {
  uint64_t at = header.entries.empty() ? bytes.size() : header.entries.front().begin;
  for (const SafetensorsEntry& tensor : header.entries) {
    CHECK(tensor.begin == at && tensor.end >= tensor.begin && tensor.end <= bytes.size());
    CHECK(tensor.shape.size() <= kSafetensorsMaxRank && tensor.name.size() <= kSafetensorsLongestName);
    unsigned __int128 bits = static_cast<unsigned>(safetensors_dtype_bits(tensor.dtype));
    for (const int64_t dim : tensor.shape) bits *= static_cast<uint64_t>(dim);
    CHECK(bits == static_cast<unsigned __int128>(tensor.end - tensor.begin) * 8);
    at = tensor.end;
  }
  CHECK_EQUAL(at, bytes.size());
}

std::vector<Bytes> seeds() {
  std::vector<Bytes> all;
  all.push_back(file_of("{" + entry("a", "F32", "[2,3]", 0, 24) + "}", 24));
  all.push_back(file_of("{\"__metadata__\":{\"format\":\"pt\",\"note\":\"\\u00e9\\ud83d\\ude00\"}," + entry("b", "BF16", "[4]", 8, 16) + "," + entry("a", "F16", "[2,2]", 0, 8) + "," +
                            entry("none", "F64", "[0,7]", 16, 16) + "," + entry("scalar", "I64", "[]", 16, 24) + "}   ",
                        24));
  all.push_back(file_of("{" + entry("n", "F4", "[3,2]", 0, 3) + ",\"x\":{\"extra\":{\"deep\":[[[1,-2.5e3,\"s\"],null],true]},\"dtype\":\"U8\",\"data_offsets\":[3,4],\"shape\":[1]}}", 4));
  all.push_back(file_of("{}", 0));
  std::string many = "{";
  for (int i = 0; i < 40; i++) many += (i > 0 ? "," : "") + entry(("model.layers." + std::to_string(i) + ".weight").c_str(), "U8", "[1,2,1]", 2 * i, 2 * i + 2);
  all.push_back(file_of(many + "}", 80));
  return all;
}

// Of this thread: other programs on the machine do not count.
double processor_milliseconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) * 1e-6;
}

class Mutator {
 public:
  explicit Mutator(uint64_t seed) : random_(seed) {}

  Bytes mutate(const std::vector<Bytes>& from) {
    Bytes bytes = from[below(from.size())];
    for (size_t rounds = 1 + below(4); rounds > 0; rounds--) step(from, &bytes);
    return bytes;
  }

 private:
  size_t below(size_t limit) { return limit == 0 ? 0 : random_() % limit; }

  void step(const std::vector<Bytes>& from, Bytes* bytes) {
    static const char* const kWords[] = {"18446744073709551615", "9223372036854775808", "4294967296", "-1", "0", "1.0", "1e9", "null", "[", "]", "{", "}", ",", ":", "\"", "\\", "\\ud800",
                                         "\"a\"", "\"F32\"", "\"F6_E2M3\"", "\"shape\":[2]", "\"__metadata__\":", "\xFF", "\xC3"};
    switch (below(8)) {
      case 0:  // flip one bit
        if (!bytes->empty()) (*bytes)[below(bytes->size())] ^= static_cast<uint8_t>(1u << below(8));
        break;
      case 1:  // any byte
        if (!bytes->empty()) (*bytes)[below(bytes->size())] = static_cast<uint8_t>(random_());
        break;
      case 2:  // cut off the end, or add to it
        if (below(2) == 0) bytes->resize(below(bytes->size() + 1));
        else bytes->resize(bytes->size() + below(40), static_cast<uint8_t>(random_()));
        break;
      case 3: {  // a piece of another file over this one
        const Bytes& other = from[below(from.size())];
        const size_t source = below(other.size()), length = below(other.size() - source + 1), target = below(bytes->size() + 1);
        if (bytes->size() < target + length) bytes->resize(target + length);
        std::copy_n(other.begin() + static_cast<long>(source), length, bytes->begin() + static_cast<long>(target));
        break;
      }
      case 4: {  // a lie about the header's length
        const uint64_t lies[] = {0, 1, bytes->size(), bytes->size() - 8, UINT64_MAX, uint64_t{1} << 63, 100'000'000, random_(), below(400)};
        const uint64_t lie = lies[below(std::size(lies))];
        if (bytes->size() >= 8) std::memcpy(bytes->data(), &lie, 8);
        break;
      }
      case 5:  // drop a piece, the header's length kept true or not
        if (bytes->size() > 8) {
          const size_t begin = 8 + below(bytes->size() - 8), length = below(std::min<size_t>(bytes->size() - begin, 30));
          bytes->erase(bytes->begin() + static_cast<long>(begin), bytes->begin() + static_cast<long>(begin + length));
          grow_header(bytes, -static_cast<int64_t>(length));
        }
        break;
      case 6:  // a meaningful word at a random place of the header
      case 7: {
        if (bytes->size() < 8) break;
        const std::string word = kWords[below(std::size(kWords))];
        const size_t at = 8 + below(bytes->size() - 7);
        bytes->insert(bytes->begin() + static_cast<long>(at), word.begin(), word.end());
        grow_header(bytes, static_cast<int64_t>(word.size()));
        break;
      }
    }
  }

  void grow_header(Bytes* bytes, int64_t by) {
    if (below(4) == 0 || bytes->size() < 8) return;
    uint64_t length;
    std::memcpy(&length, bytes->data(), 8);
    length += static_cast<uint64_t>(by);
    std::memcpy(bytes->data(), &length, 8);
  }

  std::mt19937_64 random_;
};

class TemporaryFile {
 public:
  explicit TemporaryFile(const Bytes& bytes) : path_((std::getenv("TMPDIR") != nullptr ? std::getenv("TMPDIR") : "/tmp") + std::string("/heddle_safetensors_test_") + std::to_string(getpid())) {
    std::ofstream(path_, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  ~TemporaryFile() { unlink(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace

TEST("the 37 hand-made files get their verdicts, from memory and from disk") {
  CHECK_EQUAL(std::size(kVerdicts), size_t{37});
  if (test::program_arguments().empty()) return test::report(__FILE__, __LINE__, "the folder of the files must be the first argument");
  for (const Verdict& verdict : kVerdicts) {
    const std::string path = test::program_arguments()[0] + "/" + verdict.file + ".safetensors";
    std::ifstream stream(path, std::ios::binary);
    const Bytes bytes{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
    std::shared_ptr<const MappedFile> file;
    CHECK_EQUAL(MappedFile::open(path, &file).message, "");
    SafetensorsHeader header;
    const Status status = parse(bytes, &header);
    CHECK_EQUAL(std::string(verdict.file) + " " + rule_of(status), std::string(verdict.file) + " " + (verdict.rule != nullptr ? verdict.rule : "accepted"));
    if (status.ok()) check_promises(bytes, header);
    if (!status.ok()) CHECK(status.code == StatusCode::kInvalidFile && header.entries.empty());
    if (verdict.names != nullptr && status.message.find(verdict.names) == std::string::npos)
      test::report(__FILE__, __LINE__, std::string(verdict.file) + ": \"" + status.message + "\" does not say " + verdict.names);
    CHECK(status.message.size() < 400);
    if (file != nullptr) CHECK_EQUAL(read_safetensors_header(*file, kSafetensorsDefaultMaxHeader, &header).message, status.message);
  }
}

TEST("what is read is what the file says") {
  SafetensorsHeader header;
  const Bytes bytes = seeds()[1];
  CHECK_EQUAL(parse(bytes, &header).message, "");
  CHECK_EQUAL(header.entries.size(), size_t{4});
  CHECK_EQUAL(header.entries[0].name, "a");
  CHECK_EQUAL(header.entries[1].name, "b");
  CHECK_EQUAL(header.entries[2].name, "none");
  CHECK_EQUAL(header.entries[3].name, "scalar");
  CHECK_EQUAL(header.entries[1].begin, bytes.size() - 16);
  CHECK_EQUAL(safetensors_dtype_name(header.entries[1].dtype), std::string("BF16"));
  CHECK_EQUAL(header.entries[0].shape.size(), size_t{2});
  CHECK_EQUAL(header.metadata["note"], "\xC3\xA9\xF0\x9F\x98\x80");
}

TEST("rules beyond the hand-made files") {
  const std::string a = entry("a", "U8", "[4]", 0, 4);
  CHECK_EQUAL(rule_for("{" + a + "}", 4), "accepted");
  CHECK_EQUAL(rule_for("{" + a + "}", 5), "trailing-bytes");
  CHECK_EQUAL(rule_for("{}", 1), "trailing-bytes");
  CHECK_EQUAL(rule_for("{" + entry("a", "U8", "[1,1,1,1,1,1,1,4]", 0, 4) + "}", 4), "accepted");
  CHECK_EQUAL(rule_for("{" + entry("a", "U8", "[1,1,1,1,1,1,1,1,4]", 0, 4) + "}", 4), "rank");
  CHECK_EQUAL(rule_for("{" + entry("a", "F6_E3M2", "[4]", 0, 3) + "}", 3), "accepted");
  CHECK_EQUAL(rule_for("{" + entry("a", "F6_E3M2", "[3]", 0, 3) + "}", 3), "size");
  CHECK_EQUAL(rule_for("{" + entry("a", "F32", "[4611686018427387904]", 0, 0) + "}", 0), "overflow");
  CHECK_EQUAL(rule_for("{" + entry("a", "F32", "[4294967296,4294967296]", 0, 0) + "}", 0), "overflow");
  CHECK_EQUAL(rule_for("{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4), "duplicate-name");
  CHECK_EQUAL(rule_for("{\"__metadata__\":{},\"__metadata__\":{}," + a + "}", 4), "duplicate-name");
  CHECK_EQUAL(rule_for("{\"__metadata__\":{\"k\":\"1\",\"k\":\"1\"}," + a + "}", 4), "duplicate-name");
  CHECK_EQUAL(rule_for("{\"\\u0061\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}," + a + "}", 4), "duplicate-name");
  CHECK_EQUAL(rule_for("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4,4]}}", 4), "offsets");
  CHECK_EQUAL(rule_for("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0]}}", 4), "offsets");
  CHECK_EQUAL(rule_for("{" + a + "} x", 4), "json");
  const std::string long_name(kSafetensorsLongestName, 'n');
  CHECK_EQUAL(rule_for("{" + entry(long_name.c_str(), "U8", "[4]", 0, 4) + "}", 4), "accepted");
  CHECK_EQUAL(rule_for("{" + entry((long_name + "n").c_str(), "U8", "[4]", 0, 4) + "}", 4), "name-length");
}

TEST("the header's limit can be moved, up to the format's own") {
  const Bytes bytes = file_of("{}" + std::string(1000, ' '), 0);
  CHECK_EQUAL(rule_of(parse(bytes, nullptr, 1001)), "header-limit");
  CHECK(parse(bytes, nullptr, 1002).ok());
  const Bytes large = file_of("{}" + std::string(kSafetensorsLargestHeader - 1, ' '), 0);
  CHECK_EQUAL(rule_of(parse(large, nullptr, UINT64_MAX)), "header-limit");
}

TEST("files that are no files") {
  std::shared_ptr<const MappedFile> file;
  CHECK(MappedFile::open("/tmp", &file).message.find("a directory") != std::string::npos);
  CHECK(MappedFile::open("/dev/null", &file).message.find("a device") != std::string::npos);
  CHECK(MappedFile::open("/no/such/file", &file).code == StatusCode::kIo);
  CHECK(MappedFile::open(std::string("/tmp\0x", 6), &file).code == StatusCode::kInvalidArgument);
  const std::string pipe = "/tmp/heddle_pipe_" + std::to_string(getpid());
  if (mkfifo(pipe.c_str(), 0600) == 0) {
    CHECK(MappedFile::open(pipe, &file).message.find("a pipe") != std::string::npos);
    unlink(pipe.c_str());
  }
}

TEST("a file cut short while it is open is an error, not a crash") {
  const TemporaryFile temporary(Bytes(100'000, 1));
  std::shared_ptr<const MappedFile> file;
  CHECK(MappedFile::open(temporary.path(), &file).ok());
  CHECK_EQUAL(truncate(temporary.path().c_str(), 50'000), 0);
  Bytes bytes(100'000);
  const Status status = file->read(0, bytes.size(), bytes.data());
  CHECK(status.code == StatusCode::kInvalidFile && status.message.find("50000") != std::string::npos);
  CHECK(file->read(10, 40'000, bytes.data()).ok());
  CHECK(file->read(99'999, 2, bytes.data()).code == StatusCode::kInvalidArgument);
  CHECK(file->read(UINT64_MAX, 2, bytes.data()).code == StatusCode::kInvalidArgument);
}

TEST("random mutations: a verdict each, in bounded memory and time") {
  const int count = test::program_arguments().size() > 1 ? std::atoi(test::program_arguments()[1].c_str()) : 100'000;
  const std::vector<Bytes> valid = seeds();
  for (const Bytes& bytes : valid) CHECK_EQUAL(parse(bytes).message, "");
  Mutator mutator(20261123);
  int accepted = 0;
  for (int i = 0; i < count; i++) {
    const Bytes bytes = mutator.mutate(valid);
    SafetensorsHeader header;
    const size_t before = live;
    peak = before;
    const double start = processor_milliseconds();
    const Status status = parse(bytes, &header);
    const double spent = processor_milliseconds() - start;
    const size_t used = peak - before;
    if (used > 2 * bytes.size() + 2048) test::report(__FILE__, __LINE__, "mutation " + std::to_string(i) + ": " + std::to_string(used) + " bytes for a file of " + std::to_string(bytes.size()));
    if (spent > 50) test::report(__FILE__, __LINE__, "mutation " + std::to_string(i) + " took longer than 50 ms");
    if (status.ok()) {
      accepted++;
      check_promises(bytes, header);
    } else {
      CHECK(status.code == StatusCode::kInvalidFile && status.message.find(": ") != std::string::npos);
    }
  }
  CHECK(accepted > count / 100 && accepted < count);  // otherwise the mutations miss the interesting ground
}

TEST("a header of the largest default size takes bounded memory") {
  std::string json = "{";
  for (int i = 0; json.size() < kSafetensorsDefaultMaxHeader - 100; i++) json += (i > 0 ? "," : "") + entry(std::to_string(i).c_str(), "U8", "[0]", 0, 0);
  const Bytes bytes = file_of(json + "}", 0);
  SafetensorsHeader header;
  const size_t before = live;
  peak = before;
  CHECK_EQUAL(parse(bytes, &header).message, "");
  CHECK((peak - before) < 3 * bytes.size());
}

int main(int count, char** arguments) { return test::run_all(count, arguments); }

class Scandrop < Formula
  desc "{{.Summary}}"
  homepage "{{.Homepage}}"
  url "{{.URL}}/{{.Darwin}}"
  version "{{.Version}}"
  sha256 "{{.Sum .Darwin}}"
  license "MIT"

  on_linux do
    on_intel do
      url "{{.URL}}/{{.LinuxAMD64}}"
      sha256 "{{.Sum .LinuxAMD64}}"
    end
    on_arm do
      url "{{.URL}}/{{.LinuxARM64}}"
      sha256 "{{.Sum .LinuxARM64}}"
    end
  end

  def install
    bin.install "scandrop"
    man1.install Dir["man/*.1"]
    bash_completion.install "completion/scandrop.bash" => "scandrop"
    zsh_completion.install "completion/scandrop.zsh" => "_scandrop"
    fish_completion.install "completion/scandrop.fish"
    doc.install "README.md", "CHANGELOG.md", "config.example.yaml", Dir["docs/*.md"]
  end

  service do
    run [opt_bin/"scandrop", "run"]
    keep_alive successful_exit: false
    process_type :background
    log_path var/"log/scandrop.log"
    error_log_path var/"log/scandrop.log"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/scandrop version")
    system bin/"scandrop", "demo"
  end
end
